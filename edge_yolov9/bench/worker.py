"""The process in which a bundle's latency and throughput are measured; see ``child.py``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import child, stages
from edge_yolov9.bench.frames import Pipeline, decoded, pictures
from edge_yolov9.bench.stages import Rate, StagesRun, SustainedRun
from edge_yolov9.registry import concurrency, open_session, open_sessions

THROUGHPUT_S = 10.0


class Notices(logging.Handler):
    """Keeps what sessions warn of, once each: that the model runs on something else, for example."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.texts[record.getMessage()] = None


@dataclass(frozen=True)
class Settings:
    """What is timed, and for how long."""

    bundle: str
    images: tuple[str, ...]
    """Paths of pictures that are decoded and detected in turn; a made-up one when empty."""
    runtime: str | None
    threads: int | None
    frames: int
    """How many frames are timed stage by stage."""
    seconds: float
    """Length of the sustained run."""
    key: str | None = None
    """Public key that must have signed the bundle."""


@dataclass(frozen=True)
class Timings:
    """What a process measured."""

    warm_up: tuple[float, ...]
    """Milliseconds of each frame of the warm-up."""
    by_stage: StagesRun
    run: SustainedRun
    one_session: Rate
    all_sessions: Rate
    notices: tuple[str, ...]
    """What the session warned of."""


def time_bundle(settings: Settings, progress: child.TextProgress) -> Timings:
    """Warm-up, stages, sustained run and throughput, in this process; ``progress`` hears of each but the warm-up."""
    notices = Notices()
    logging.getLogger("edge_yolov9").addHandler(notices)
    bundle = bundles.read(settings.bundle, key=settings.key)
    runtime, threads, seconds = settings.runtime, settings.threads, settings.seconds
    encoded = pictures([Path(name) for name in settings.images])
    session = open_session(bundle, runtime, threads)
    if session.note:
        notices.texts[session.note] = None
    pipeline = Pipeline(bundle, session)
    warm_up = stages.warm_up(pipeline, encoded)
    progress(f"latency by stage, {settings.frames} frames")
    by_stage = stages.by_stage(pipeline, encoded, settings.frames)
    progress(f"sustained run, {seconds:g} s")
    run = stages.sustained(pipeline, encoded, seconds)
    share = min(THROUGHPUT_S, seconds / 6)
    progress(f"throughput, {2 * share:.2g} s")
    frame = decoded(encoded[0])
    one_session = stages.throughput([pipeline], frame, share)
    pipeline.close()
    sessions = open_sessions(bundle, runtime, threads, concurrency(runtime or bundle.manifest.target))
    pipelines = [Pipeline(bundle, session) for session in sessions]
    for pipeline in pipelines:
        pipeline(frame)
    all_sessions = stages.throughput(pipelines, frame, share)
    for pipeline in pipelines:
        pipeline.close()
    return Timings(tuple(warm_up), by_stage, run, one_session, all_sessions, tuple(notices.texts))


if __name__ == "__main__":
    child.answer(Settings, time_bundle)
