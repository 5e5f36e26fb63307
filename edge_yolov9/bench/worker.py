"""The process in which a bundle's latency and throughput are measured; see ``child.py``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import child, stages
from edge_yolov9.bench.frames import Pipeline, decoded, pictures
from edge_yolov9.registry import concurrency, open_session, open_sessions

THROUGHPUT_S = 10.0


class Notices(logging.Handler):
    """Keeps what sessions warn of, once each: that the model runs on something else, for example."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.texts[record.getMessage()] = None


def measure(settings: dict[str, Any], progress: child.Progress) -> dict[str, Any]:
    """Warm-up, stages, sustained run and throughput, in this process.

    Args:
        settings: ``bundle``, ``images`` (paths), ``runtime``, ``threads``, ``frames``, ``seconds``.
        progress: is told of every phase.

    Returns:
        ``warm_up`` (ms of each frame), what ``stages.by_stage`` gives, ``sustained``, and throughput of ``one`` session
        and of ``all``; ``notices``, what the session warned of.
    """
    notices = Notices()
    logging.getLogger("edge_yolov9").addHandler(notices)
    bundle = bundles.read(settings["bundle"])
    runtime, threads, seconds = settings["runtime"], settings["threads"], settings["seconds"]
    encoded = pictures([Path(name) for name in settings["images"]])
    session = open_session(bundle, runtime, threads)
    if session.note:
        notices.texts[session.note] = None
    pipeline = Pipeline(bundle, session)
    found: dict[str, Any] = {"warm_up": stages.warm_up(pipeline, encoded)}
    progress(f"latency by stage, {settings['frames']} frames")
    found |= stages.by_stage(pipeline, encoded, settings["frames"])
    progress(f"sustained run, {seconds:g} s")
    found["sustained"] = stages.sustained(pipeline, encoded, seconds)
    share = min(THROUGHPUT_S, seconds / 6)
    progress(f"throughput, {2 * share:.2g} s")
    frame = decoded(encoded[0])
    found["one"] = stages.throughput([pipeline], frame, share)
    pipeline.close()
    sessions = open_sessions(bundle, runtime, threads, concurrency(runtime or bundle.manifest.target))
    pipelines = [Pipeline(bundle, session) for session in sessions]
    for pipeline in pipelines:
        pipeline(frame)
    found["all"] = stages.throughput(pipelines, frame, share)
    for pipeline in pipelines:
        pipeline.close()
    found["notices"] = list(notices.texts)
    return found


if __name__ == "__main__":
    child.answer(measure)
