"""Latency of the pipeline, stage by stage, beside the runtime's own call; a sustained run; throughput.

One bundle per process (see ``worker.py``): models in one process evict each other's caches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bench.frames import Encoded, Image, Pipeline, decoded, describe
from edge_yolov9.bench.spread import ROUNDS, few, rounded, summary

WARM_UP = 10
LEAST_FRAMES = 20
LIMIT_S = 60.0
BUCKETS = 60


def warm_up(pipeline: Pipeline, encoded: Encoded) -> list[float]:
    """Milliseconds of the first ``WARM_UP`` frames, which no other figure contains."""
    times = []
    for index in range(WARM_UP):
        frame = decoded(encoded[index % len(encoded)])
        start = time.perf_counter()
        pipeline(frame)
        times.append(rounded(1000 * (time.perf_counter() - start)))
    return times


def by_stage(pipeline: Pipeline, encoded: Encoded, frames: int, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """Every stage of ``frames`` frames, and after or before each, in turn, the runtime's own call on the same input.

    Args:
        pipeline: warmed up.
        encoded: frames as ``pipeline.pictures`` gives them.
        frames: how many, in turn; fewer, but ``LEAST_FRAMES``, when they take longer than ``limit_s`` seconds.

    Returns:
        ``batch``, ``frames``, ``stages`` (summaries in ms), ``session``, ``bare``, ``overhead`` (all but capture and
        bare call), ``overhead_percent`` of the bare call, ``objects_per_frame``.
    """
    times = np.empty((frames, 5))
    alone = np.empty(frames)
    objects, count, end = 0, 0, time.monotonic() + limit_s
    while count < frames and (count < LEAST_FRAMES or time.monotonic() < end):
        if count % 2:
            alone[count] = _timed(pipeline.bare)
        times[count], found = _frame(pipeline, encoded[count % len(encoded)])
        objects += found
        if not count % 2:
            alone[count] = _timed(pipeline.bare)
        count += 1
    return {
        "batch": 1,
        "frames": describe(encoded),
        **_stages(times[:count], alone[:count]),
        "objects_per_frame": rounded(objects / count),
    }


def _frame(pipeline: Pipeline, item: NDArray[np.uint8]) -> tuple[NDArray[np.float64], int]:
    """Milliseconds (5,) of capture, letterbox, session, decode and NMS, total; and how many objects were found."""
    marks = [time.perf_counter()]
    frame = decoded(item)
    marks.append(time.perf_counter())
    placed = pipeline.place(frame)
    marks.append(time.perf_counter())
    raw = pipeline.infer(frame)
    marks.append(time.perf_counter())
    found = pipeline.finish(raw, placed)
    marks.append(time.perf_counter())
    return 1000 * np.append(np.diff(marks), marks[-1] - marks[0]), len(found.xyxy)


def _stages(times: NDArray[np.float64], alone: NDArray[np.float64]) -> dict[str, Any]:
    """``times`` (frames, 5): capture, letterbox, session, decode and NMS, total; ``alone`` (frames,): bare call; ms."""
    capture, letterbox, session, finish, total = times.T
    overhead = summary(total - capture - alone)
    return {
        "stages": {
            "capture": summary(capture),
            "letterbox": summary(letterbox),
            "transfer": summary(session - alone),
            "inference": summary(alone),
            "decode_nms": summary(finish),
            "total": summary(total),
        },
        "session": summary(session),
        "bare": summary(alone),
        "overhead": overhead,
        "overhead_percent": rounded(100 * overhead["p50"] / float(np.median(alone))),
    }


def sustained(pipeline: Pipeline, encoded: Encoded, seconds: float) -> dict[str, Any]:
    """Frames in memory to detections, one after the other without a pause.

    Returns:
        ``begin`` and ``end`` (``time.monotonic``), ``frames``, ``latency`` (summary in ms) and ``timeline``: per
        bucket ``t`` (seconds from the beginning), ``n``, ``p50``, ``p90``, ``max``.
    """
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
    timeline = {
        "t": [rounded(float(part[0].mean()) - begin) for part in buckets],
        "n": [part.shape[1] for part in buckets],
        "p50": [rounded(float(np.median(part[1]))) for part in buckets],
        "p90": [rounded(float(np.percentile(part[1], 90))) for part in buckets],
        "max": [rounded(float(part[1].max())) for part in buckets],
    }
    fps = [part.shape[1] / (part[0, -1] - part[0, 0]) for part in _rounds(ends, begin)]
    return {
        "begin": begin,
        "end": now,
        "seconds": rounded(now - begin),
        "frames": len(times),
        "fps": few(fps or [len(times) / (now - begin)]),
        "latency": summary(times),
        "timeline": timeline,
    }


def _rounds(ends: list[float], begin: float) -> list[NDArray[np.float64]]:
    marks = np.array([[begin, *ends]])
    return [part for part in np.array_split(marks, ROUNDS, axis=1) if part.shape[1] > 1]


def throughput(pipelines: Sequence[Pipeline], frame: Image, seconds: float) -> dict[str, Any]:
    """Inferences per second of all sessions together, each driven by a thread: median and range of rounds.

    Args:
        pipelines: one per session.
        frame: (H, W, 3) uint8 BGR, letterboxed once, or by the session itself where it does that.
        seconds: how long it takes.
    """
    for pipeline in pipelines:
        pipeline.place(frame)
    rates = [_rate(pipelines, frame, seconds / ROUNDS) for _ in range(ROUNDS)]
    return {"sessions": len(pipelines), "fps": few(rates)}


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
