"""Latency of the pipeline, stage by stage, beside the runtime's own call; a sustained run; throughput.

One bundle per process (see ``worker.py``): models in one process evict each other's caches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bench.frames import Encoded, Frames, Image, Pipeline, decoded, describe
from edge_yolov9.bench.spread import NOT_A_ROW, ROUNDS, Few, Many, check_size, few, rounded, summary

WARM_UP = 10
LEAST_FRAMES = 20
LIMIT_S = 60.0
BUCKETS = 60


@dataclass(frozen=True)
class Stages:
    """Milliseconds of each stage of a frame."""

    capture: Many
    """Decoding the picture."""
    letterbox: Many
    transfer: Many
    """What our session adds to the runtime's own call."""
    inference: Many
    """The runtime's own call."""
    decode_nms: Many
    total: Many


@dataclass(frozen=True)
class StagesRun:
    """Latency by stage of a number of frames, one at a time; milliseconds."""

    batch: int
    frames: Frames
    stages: Stages
    session: Many
    """Our session's call: transfer and inference."""
    bare: Many
    """The runtime's own call on the same input."""
    overhead: Many
    """All but capture and bare call."""
    overhead_percent: float
    """Median overhead, of the median bare call."""
    objects_per_frame: float


@dataclass(frozen=True)
class Timeline:
    """A sustained run in buckets of frames, and what sensors read meanwhile."""

    t: tuple[float, ...]
    """Middle of each bucket, seconds from the beginning of the run."""
    n: tuple[int, ...]
    """Frames of each bucket."""
    p50: tuple[float, ...]
    """Median latency of each bucket, ms."""
    p90: tuple[float, ...]
    max: tuple[float, ...]
    sensors_t: tuple[float, ...] = ()
    """When sensors were read, seconds from the beginning of the run."""
    celsius: tuple[float | None, ...] = ()
    """Degrees of the hottest part, at each of ``sensors_t``; None where the sensor did not answer."""
    mhz: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """Clocks by name, at each of ``sensors_t``."""
    watts: tuple[float | None, ...] = ()
    """Power, at each of ``sensors_t``."""

    def __post_init__(self) -> None:
        for lines, times in (
            ((self.n, self.p50, self.p90, self.max), self.t),
            ((self.celsius, self.watts, *self.mhz.values()), self.sensors_t),
        ):
            if any(len(line) not in (0, len(times)) for line in lines):
                raise ValueError(f"expected {len(times)} values in every line, as there are times")
            check_size(*times, *(value for line in lines for value in line if value is not None))


@dataclass(frozen=True)
class Sustained:
    """Frames in memory to detections, one after the other without a pause."""

    seconds: float
    frames: int
    fps: Few
    latency: Many
    """Milliseconds."""
    timeline: Timeline = field(metadata=NOT_A_ROW)


@dataclass(frozen=True)
class SustainedRun:
    """A sustained run, and when it was: seconds of ``time.monotonic``."""

    begin: float
    end: float
    sustained: Sustained


@dataclass(frozen=True)
class Rate:
    """Inferences per second of some sessions together."""

    sessions: int
    fps: Few


def warm_up(pipeline: Pipeline, encoded: Encoded) -> list[float]:
    """Milliseconds of the first ``WARM_UP`` frames, which no other figure contains."""
    times = []
    for index in range(WARM_UP):
        frame = decoded(encoded[index % len(encoded)])
        start = time.perf_counter()
        pipeline(frame)
        times.append(rounded(1000 * (time.perf_counter() - start)))
    return times


def by_stage(pipeline: Pipeline, encoded: Encoded, frames: int, limit_s: float = LIMIT_S) -> StagesRun:
    """Every stage of ``frames`` frames, and after or before each, in turn, the runtime's own call on the same input.

    Args:
        pipeline: warmed up.
        encoded: frames as ``edge_yolov9.bench.frames.pictures`` gives them.
        frames: how many, in turn; fewer, but ``LEAST_FRAMES``, when they take longer than ``limit_s`` seconds.
    """
    times = np.empty((frames, 5))
    alone = np.empty(frames)
    objects, count, end = 0, 0, time.monotonic() + limit_s
    while count < frames and (count < LEAST_FRAMES or time.monotonic() < end):
        if count % 2:
            alone[count] = _timed(pipeline.bare)
        times[count], detections = _frame(pipeline, encoded[count % len(encoded)])
        objects += detections
        if not count % 2:
            alone[count] = _timed(pipeline.bare)
        count += 1
    return _stages_run(describe(encoded), times[:count], alone[:count], objects / count)


def _frame(pipeline: Pipeline, item: NDArray[np.uint8]) -> tuple[NDArray[np.float64], int]:
    """Milliseconds (5,) of capture, letterbox, session, decode and NMS, total; and the number of detections."""
    marks = [time.perf_counter()]
    frame = decoded(item)
    marks.append(time.perf_counter())
    placed = pipeline.place(frame)
    marks.append(time.perf_counter())
    raw = pipeline.infer(frame)
    marks.append(time.perf_counter())
    detections = pipeline.finish(raw, placed)
    marks.append(time.perf_counter())
    return 1000 * np.append(np.diff(marks), marks[-1] - marks[0]), len(detections)


def _stages_run(frames: Frames, times: NDArray[np.float64], alone: NDArray[np.float64], objects: float) -> StagesRun:
    """``times`` (frames, 5): capture, letterbox, session, decode and NMS, total; ``alone`` (frames,): bare call; ms."""
    capture, letterbox, session, finish, total = times.T
    overhead = summary(total - capture - alone)
    return StagesRun(
        batch=1,
        frames=frames,
        stages=Stages(
            capture=summary(capture),
            letterbox=summary(letterbox),
            transfer=summary(session - alone),
            inference=summary(alone),
            decode_nms=summary(finish),
            total=summary(total),
        ),
        session=summary(session),
        bare=summary(alone),
        overhead=overhead,
        overhead_percent=rounded(100 * overhead.p50 / float(np.median(alone))),
        objects_per_frame=rounded(objects),
    )


def sustained(pipeline: Pipeline, encoded: Encoded, seconds: float) -> SustainedRun:
    """Frames in memory to detections, one after the other without a pause, for ``seconds``."""
    images = [decoded(item) for item in encoded]
    ends: list[float] = []
    times: list[float] = []
    begin = now = time.monotonic()
    while now < begin + seconds or not times:
        start = time.perf_counter()
        pipeline(images[len(times) % len(images)])
        times.append(1000 * (time.perf_counter() - start))
        now = time.monotonic()
        ends.append(now)
    buckets = list(np.array_split(np.array([ends, times]), min(BUCKETS, len(times)), axis=1))
    timeline = Timeline(
        t=tuple(rounded(float(part[0].mean()) - begin) for part in buckets),
        n=tuple(part.shape[1] for part in buckets),
        p50=tuple(rounded(float(np.median(part[1]))) for part in buckets),
        p90=tuple(rounded(float(np.percentile(part[1], 90))) for part in buckets),
        max=tuple(rounded(float(part[1].max())) for part in buckets),
    )
    fps = [part.shape[1] / (part[0, -1] - part[0, 0]) for part in _rounds(ends, begin)]
    spread = few(fps or [len(times) / (now - begin)])
    return SustainedRun(begin, now, Sustained(rounded(now - begin), len(times), spread, summary(times), timeline))


def _rounds(ends: list[float], begin: float) -> list[NDArray[np.float64]]:
    marks = np.array([[begin, *ends]])
    return [part for part in np.array_split(marks, ROUNDS, axis=1) if part.shape[1] > 1]


def throughput(pipelines: Sequence[Pipeline], frame: Image, seconds: float) -> Rate:
    """Inferences per second of all sessions together, each driven by a thread: median and range of rounds.

    Args:
        pipelines: one per session.
        frame: (H, W, 3) uint8 BGR, letterboxed once, or by the session itself where it does that.
        seconds: how long it takes.
    """
    for pipeline in pipelines:
        pipeline.place(frame)
    return Rate(len(pipelines), few([_rate(pipelines, frame, seconds / ROUNDS) for _ in range(ROUNDS)]))


def _rate(pipelines: Sequence[Pipeline], frame: Image, seconds: float) -> float:
    counts, failures = [0] * len(pipelines), []
    begin = time.perf_counter()

    def drive(index: int) -> None:
        try:
            while time.perf_counter() < begin + seconds or not counts[index]:
                pipelines[index].infer(frame)
                counts[index] += 1
        except Exception as error:  # raised below, in the caller's thread
            failures.append(error)

    workers = [threading.Thread(target=drive, args=(index,)) for index in range(len(pipelines))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - begin)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)
