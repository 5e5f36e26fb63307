"""Latency of the pipeline, stage by stage, beside the runtime's own call; a sustained run; throughput.

One bundle per process (see ``worker.py``): models in one process evict each other's caches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.detections import Detections
from edge_yolov9.errors import SourceError
from edge_yolov9.geometry import PAD_VALUE, Letterbox
from edge_yolov9.registry import Session, cores
from edge_yolov9.report.probe import missing
from edge_yolov9.report.spread import ROUNDS, few, rounded, summary

WARM_UP = 10
BUCKETS = 60
GPU_SESSIONS = 2
"""Execution contexts that share one GPU: one computes while the other moves its frame."""
Image = NDArray[np.uint8]


class Pipeline:
    """What :class:`edge_yolov9.Detector` does with a frame, in steps that can be timed."""

    def __init__(self, bundle: Bundle, session: Session) -> None:
        manifest = bundle.manifest
        self.session = session
        self.names = manifest.names
        self.size = (manifest.input.height, manifest.input.width)
        self.canvas = np.full((*self.size, 3), PAD_VALUE, np.uint8)
        self._decoder = Decoder(self.size, manifest.outputs, manifest.strides, manifest.reg_max)
        limits = manifest.thresholds
        self._options = DecodeOptions(limits.confidence, limits.iou, limits.max_detections)

    def place(self, frame: Image) -> Letterbox:
        """Letterbox (H, W, 3) BGR into ``canvas``."""
        placed = Letterbox.fit((frame.shape[0], frame.shape[1]), self.size)
        placed.apply(frame, self.canvas)
        return placed

    def finish(self, raw: Sequence[NDArray[Any]], placed: Letterbox) -> Detections:
        """Raw maps to detections in pixels of the frame."""
        boxes, scores, classes = self._decoder(raw, self._options)
        return Detections(placed.to_frame(boxes), scores, classes, self.names)

    def __call__(self, frame: Image) -> Detections:
        """Frame to detections."""
        placed = self.place(frame)
        return self.finish(self.session.infer(self.canvas), placed)


def pictures(files: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Encoded frames, each (bytes,) uint8: the files, or one made-up 1280 x 720 JPEG where there is none.

    Raises:
        SourceError: a file is missing or does not decode.
    """
    if not files:
        blobs = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
        frame = cv2.resize(blobs, (1280, 720), interpolation=cv2.INTER_CUBIC)
        return [np.asarray(cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, 90))[1], np.uint8).ravel()]
    found = []
    for file in files:
        try:
            found.append(np.frombuffer(file.read_bytes(), np.uint8))
        except OSError as error:
            raise SourceError(f"cannot read image {file}: {error.strerror or error}") from None
        if not len(found[-1]) or cv2.imdecode(found[-1], cv2.IMREAD_COLOR) is None:
            raise SourceError(f"{file} does not decode as an image; expected JPEG, PNG, BMP, WebP or TIFF")
    return found


def warm_up(pipeline: Pipeline, encoded: Sequence[NDArray[np.uint8]]) -> list[float]:
    """Milliseconds of the first ``WARM_UP`` frames, which no other figure contains."""
    times = []
    for index in range(WARM_UP):
        frame = _decoded(encoded[index % len(encoded)])
        start = time.perf_counter()
        pipeline(frame)
        times.append(rounded(1000 * (time.perf_counter() - start)))
    return times


def by_stage(pipeline: Pipeline, encoded: Sequence[NDArray[np.uint8]], frames: int) -> dict[str, Any]:
    """Every stage of ``frames`` frames, and after or before each, in turn, the runtime's own call on the same input.

    Returns:
        ``stages`` (summaries in ms), ``session``, ``bare``, ``overhead`` and ``overhead_percent``, ``objects``.
    """
    bare = getattr(pipeline.session, "bare", None)
    times = np.empty((frames, 5))
    alone = np.empty(frames)
    objects = 0
    for index in range(frames):
        if bare is not None and index % 2:
            alone[index] = _timed(bare)
        marks = [time.perf_counter()]
        frame = _decoded(encoded[index % len(encoded)])
        marks.append(time.perf_counter())
        placed = pipeline.place(frame)
        marks.append(time.perf_counter())
        raw = pipeline.session.infer(pipeline.canvas)
        marks.append(time.perf_counter())
        objects += len(pipeline.finish(raw, placed).xyxy)
        marks.append(time.perf_counter())
        times[index] = 1000 * np.append(np.diff(marks), marks[-1] - marks[0])
        if bare is not None and not index % 2:
            alone[index] = _timed(bare)
    return {**_stages(times, None if bare is None else alone), "objects_per_frame": rounded(objects / frames)}


def _stages(times: NDArray[np.float64], alone: NDArray[np.float64] | None) -> dict[str, Any]:
    """``times`` (frames, 5): capture, letterbox, session, decode and NMS, total; ``alone`` (frames,): bare call; ms."""
    capture, letterbox, session, finish, total = times.T
    found: dict[str, Any] = {
        "stages": {
            "capture": summary(capture),
            "letterbox": summary(letterbox),
            "transfer": missing("the session has no call that runs the runtime alone"),
            "inference": summary(session),
            "decode_nms": summary(finish),
            "total": summary(total),
        },
        "session": summary(session),
        "bare": missing("the session has no call that runs the runtime alone"),
        "overhead": summary(letterbox + finish),
    }
    if alone is not None:
        found["stages"] |= {"transfer": summary(session - alone), "inference": summary(alone)}
        found |= {"bare": summary(alone), "overhead": summary(total - capture - alone)}
    base = float(np.median(session if alone is None else alone))
    found["overhead_percent"] = rounded(100 * found["overhead"]["p50"] / base)
    return found


def sustained(pipeline: Pipeline, encoded: Sequence[NDArray[np.uint8]], seconds: float) -> dict[str, Any]:
    """Frames in memory to detections, one after the other without a pause.

    Returns:
        ``begin`` and ``end`` (``time.monotonic``), ``frames``, ``latency`` (summary in ms) and ``timeline``: per
        bucket ``t`` (seconds from the beginning), ``n``, ``p50``, ``p90``, ``max``.
    """
    images = [_decoded(item) for item in encoded]
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


def concurrency(bundle: Bundle) -> int:
    """How many sessions keep this runtime busy: one per core, or a pair on a GPU."""
    return GPU_SESSIONS if bundle.manifest.target == "jetson" else cores()


def throughput(sessions: Sequence[Session], image: Image, seconds: float) -> dict[str, Any]:
    """Inferences per second of all sessions together, each driven by a thread: median and range of rounds."""
    rates = [_rate(sessions, image, seconds / ROUNDS) for _ in range(ROUNDS)]
    return {"sessions": len(sessions), "fps": few(rates)}


def _rate(sessions: Sequence[Session], image: Image, seconds: float) -> float:
    counts, failures = [0] * len(sessions), []
    begin = time.perf_counter()

    def drive(index: int) -> None:
        try:
            while time.perf_counter() < begin + seconds or not counts[index]:
                sessions[index].infer(image)
                counts[index] += 1
        except Exception as error:  # raised below, in the caller's thread
            failures.append(error)

    workers = [threading.Thread(target=drive, args=(index,)) for index in range(len(sessions))]
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


def _decoded(encoded: NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
