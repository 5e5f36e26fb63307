"""The process in which one bundle is timed: nothing else is loaded in it, and nobody samples sensors in it.

``python -m edge_yolov9.report.worker SETTINGS`` with a JSON object prints one JSON object per line: ``{"phase": text}``
as it goes on, then ``{"result": ...}`` or ``{"error": class, "message": text}``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_yolov9 import bundle as bundles
from edge_yolov9 import errors
from edge_yolov9.errors import EdgeYoloError, InferenceError
from edge_yolov9.registry import open_session, open_sessions
from edge_yolov9.report import stages

Progress = Callable[[str], None]
"""Is told in a few words what is being measured now."""


def run(settings: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Time a bundle in a process of its own.

    Args:
        settings: ``bundle``, ``images`` (paths), ``runtime``, ``threads``, ``frames``, ``seconds``.
        progress: is told of every phase.

    Raises:
        EdgeYoloError: as the process met it; InferenceError when it died.
    """
    command = [sys.executable, "-m", "edge_yolov9.report.worker", json.dumps(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            message = _message(line)
            if "phase" in message:
                progress(message["phase"])
            elif "error" in message:
                raise getattr(errors, message["error"])(message["message"])
            elif "result" in message:
                return dict(message["result"])
        reason = (process.stderr.read().strip().splitlines() or ["no reason given"])[-1]
    raise InferenceError(f"the process that times {settings['bundle']} ended with code {process.returncode}: {reason}")


def _message(line: str) -> dict[str, Any]:
    """One of ours; vendor libraries may print lines of their own."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def measure(settings: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Warm-up, stages, sustained run and throughput, in this process; arguments as for :func:`run`."""
    bundle = bundles.read(settings["bundle"])
    runtime, threads, seconds = settings["runtime"], settings["threads"], settings["seconds"]
    encoded = stages.pictures([Path(name) for name in settings["images"]])
    pipeline = stages.Pipeline(bundle, open_session(bundle, runtime, threads))
    found: dict[str, Any] = {"warm_up": stages.warm_up(pipeline, encoded)}
    progress(f"latency by stage, {settings['frames']} frames")
    found |= stages.by_stage(pipeline, encoded, settings["frames"])
    progress(f"sustained run, {seconds:g} s")
    found["sustained"] = stages.sustained(pipeline, encoded, seconds)
    share = min(10.0, seconds / 6)
    progress(f"throughput, {2 * share:.2g} s")
    found["one"] = stages.throughput([pipeline.session], pipeline.canvas, share)
    pipeline.session.close()
    sessions = open_sessions(bundle, runtime, threads, stages.concurrency(bundle))
    for session in sessions:
        session.infer(pipeline.canvas)
    found["all"] = stages.throughput(sessions, pipeline.canvas, share)
    for session in sessions:
        session.close()
    return found


def _say(**message: Any) -> None:
    print(json.dumps(message), flush=True)


def main() -> None:
    """Entry of the process."""
    try:
        _say(result=measure(json.loads(sys.argv[1]), lambda text: _say(phase=text)))
    except EdgeYoloError as error:
        _say(error=type(error).__name__, message=str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
