"""Processes in which one thing is measured: one bundle in each, and nobody samples sensors there.

A module that is run this way calls :func:`answer`. It gets its settings as JSON on standard input and prints one JSON
object per line: ``{"phase": text}`` as it goes on, then ``{"result": ...}`` or ``{"error": class, "message": text}``.
Only what a start-up has to load anyway is imported here at the top.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from edge_yolov9 import children, errors
from edge_yolov9.errors import EdgeYoloError, InferenceError

Progress = Callable[[str], None]
"""Is told in a few words what is being measured now."""
Measure = Callable[[dict[str, Any], Progress], dict[str, Any]]


def run(module: str, settings: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The result of ``edge_yolov9.bench.MODULE`` with these settings, in a process of its own.

    Raises:
        EdgeYoloError: as the process met it; InferenceError when it died.
    """
    import subprocess
    from tempfile import TemporaryFile

    with TemporaryFile("w+") as given, TemporaryFile("w+", errors="replace") as log:
        json.dump(settings, given)
        given.seek(0)
        command = children.python_module(f"edge_yolov9.bench.{module}")
        with subprocess.Popen(
            command, stdin=given, stdout=subprocess.PIPE, stderr=log, text=True, errors="replace"
        ) as process:
            try:
                found = _listen(process.stdout or (), progress)
            except BaseException:
                process.kill()
                raise
        code = process.wait()
        log.seek(0)
        reason = (log.read().strip().splitlines() or ["no reason given"])[-1]
    if found is None:
        raise InferenceError(f"the process that measures {settings['bundle']} ended with code {code}: {reason}")
    return found


def _listen(lines: Iterable[str], progress: Progress) -> dict[str, Any] | None:
    """The result; None when the process ends without one. Vendor libraries may print lines of their own."""
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if not isinstance(message, dict):
            continue
        if "phase" in message:
            progress(message["phase"])
        elif "error" in message:
            raise getattr(errors, message["error"])(message["message"])
        elif "result" in message:
            return dict(message["result"])
    return None


def answer(measure: Measure) -> None:
    """Entry of such a process."""
    try:
        _say(result=measure(json.load(sys.stdin), lambda text: _say(phase=text)))
    except EdgeYoloError as error:
        _say(error=type(error).__name__, message=str(error))
        sys.exit(1)


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)
