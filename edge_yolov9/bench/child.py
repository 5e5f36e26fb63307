"""Processes in which one thing is measured: one bundle in each, and nobody samples sensors there.

A module that is run this way calls :func:`answer`. It gets its settings as JSON on standard input and prints one JSON
object per line: ``{"phase": text}`` as it goes on, then ``{"result": ...}`` or ``{"error": class, "message": text}``.
Only what a start-up has to load anyway is imported here at the top.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from edge_yolov9 import errors
from edge_yolov9.errors import EdgeYoloError, InferenceError
from edge_yolov9.system import children

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Settings = TypeVar("Settings", bound=DataclassInstance)

Answer = TypeVar("Answer")

TextProgress = Callable[[str], None]
"""Is called with a few words: what is being done now."""


def run(module: str, settings: DataclassInstance, answer: type[Answer], progress: TextProgress) -> Answer:
    """The answer of ``edge_yolov9.bench.MODULE`` to these settings, from a process of its own.

    Raises:
        EdgeYoloError: as the process met it; InferenceError when it died.
    """
    import subprocess
    from dataclasses import asdict
    from tempfile import TemporaryFile

    from edge_yolov9.files import from_json

    with TemporaryFile("w+") as given, TemporaryFile("w+", errors="replace") as log:
        json.dump(asdict(settings), given)
        given.seek(0)
        command = children.python_module(f"edge_yolov9.bench.{module}")
        with subprocess.Popen(
            command,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            errors="replace",
            env=children.environment(),
        ) as process:
            try:
                result = listen(process.stdout or (), progress)
            except BaseException:
                process.kill()
                raise
        code = process.wait()
        log.seek(0)
        reason = (log.read().strip().splitlines() or ["no reason given"])[-1]
    if result is None:
        raise InferenceError(f"the process that measures a bundle ({module}) ended with code {code}: {reason}")
    return from_json(answer, result, f"the answer of edge_yolov9.bench.{module}")


def listen(lines: Iterable[str], progress: TextProgress) -> object:
    """The result among a process's lines; None when it ends without one. Vendor libraries may print lines too."""
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
            return message["result"]
    return None


def answer(settings: Callable[..., Settings], measure: Callable[[Settings, TextProgress], object]) -> None:
    """Entry of such a process: ``settings`` is the dataclass that ``measure`` takes; it returns another."""
    try:
        result = measure(settings(**json.load(sys.stdin)), lambda text: _print(phase=text))
    except EdgeYoloError as error:
        _print(error=type(error).__name__, message=str(error))
        sys.exit(1)
    from edge_yolov9.files import finite

    _print(result=finite(result))


def _print(**message: object) -> None:
    print(json.dumps(message), flush=True)
