"""Made scenes with true ids, for trackers: crossing, hiding, flicker, low rates, turning, changing classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.detections import Detections

NAMES = ("person", "car")
THRESHOLD = 0.25
"""Least score of a result; the detector gives boxes down to 0.1."""


@dataclass(frozen=True)
class Scene:
    """Frames at ``times`` (s): true boxes with their ids, and what a detector finds of them."""

    fps: float
    times: list[float]
    truth: list[tuple[NDArray[np.float32], NDArray[np.int64]]]
    found: list[Detections]

    @property
    def patience(self) -> float:
        """Seconds that an object may be out of sight: one, or as long as a missed frame takes."""
        return max(1.0, 2 / self.fps)


def corners(places: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.concatenate((places - sizes / 2, places + sizes / 2), axis=1).astype(np.float32)


def filmed(
    random: np.random.Generator,
    fps: float,
    seconds: float,
    places: Callable[[float], NDArray[np.float64]],
    sizes: NDArray[np.float64],
    *,
    missing: float = 0.02,
    scores: tuple[float, float] = (0.5, 0.95),
    false_boxes: int = 0,
    flips: float = 0.0,
    hidden: Callable[[NDArray[np.float64]], NDArray[np.bool_]] = lambda place: np.zeros(len(place), np.bool_),
    noise: float = 0.03,
) -> Scene:
    """What a camera and a detector make of objects whose ``places`` (N, 2) are a function of time."""
    times = [i / fps for i in range(round(seconds * fps))]
    truth, results = [], []
    for time in times:
        place = places(time)
        seen = ~hidden(place)
        boxes = corners(place, sizes)
        truth.append((boxes[seen], np.flatnonzero(seen)))
        found = seen & (random.random(len(place)) > missing)
        off = random.normal(0, noise, (len(place), 2)) * sizes
        wrong = corners(place + off, sizes * random.normal(1, noise, sizes.shape))[found]
        classes = (random.random(len(wrong)) < flips).astype(np.int64)
        score = random.uniform(*scores, len(wrong))
        at = random.uniform((0, 0), (1900, 1060), (false_boxes, 2))
        wrong = np.concatenate((wrong, corners(at, np.full((false_boxes, 2), 60.0))))
        classes = np.concatenate((classes, np.zeros(false_boxes, np.int64)))
        score = np.concatenate((score, random.uniform(0.1, 0.4, false_boxes)))
        order = np.argsort(-score)
        results.append(Detections(wrong[order], score[order].astype(np.float32), classes[order], NAMES))
    return Scene(fps, times, truth, results)


def lines(random: np.random.Generator, count: int, speed: float) -> Callable[[float], NDArray[np.float64]]:
    """Objects that walk straight at up to ``speed`` pixels per second, and turn back at the border."""
    start = random.uniform((60, 60), (1860, 1020), (count, 2))
    velocity = random.uniform(-speed, speed, (count, 2))

    def places(time: float) -> NDArray[np.float64]:
        span = np.array([1800.0, 960.0])
        way = (start - 60 + velocity * time) % (2 * span)
        return np.where(way > span, 2 * span - way, way) + 60

    return places


def scenes(seed: int = 0) -> Iterator[tuple[str, Scene]]:
    """Kind and scene."""
    random = np.random.default_rng(seed)
    pair = np.array([[50.0, 110.0]])
    for fps in (30, 10):
        for speed in (80, 160):
            heights = np.arange(6) * 150.0 + 150

            def crossing(
                time: float, speed: float = speed, heights: NDArray[np.float64] = heights
            ) -> NDArray[np.float64]:
                left = np.column_stack((np.full(6, 300 + speed * time), heights))
                right = np.column_stack((np.full(6, 1300 - speed * time), heights + 8))
                return np.concatenate((left, right))

            yield f"crossing {fps} fps", filmed(random, fps, 8, crossing, np.repeat(pair, 12, 0))
        walls = (400, 420), (1000, 1030), (1500, 1525)

        def behind(place: NDArray[np.float64], walls: tuple[tuple[int, int], ...] = walls) -> NDArray[np.bool_]:
            return np.any([(place[:, 0] > a - 25) & (place[:, 0] < b + 25) for a, b in walls], axis=0)

        walk = lines(random, 12, 110)
        yield f"hiding {fps} fps", filmed(random, fps, 15, walk, np.repeat(pair, 12, 0), hidden=behind)
        yield (
            f"flicker {fps} fps",
            filmed(
                random,
                fps,
                15,
                lines(random, 20, 90),
                np.repeat(pair, 20, 0),
                missing=0.2,
                scores=(0.12, 0.9),
                false_boxes=3,
            ),
        )
        yield f"classes {fps} fps", filmed(random, fps, 10, lines(random, 10, 90), np.repeat(pair, 10, 0), flips=0.3)
        turn, middle = random.uniform(0.5, 1.5, 10), random.uniform((300, 300), (1600, 800), (10, 2))

        def round_(
            time: float, turn: NDArray[np.float64] = turn, middle: NDArray[np.float64] = middle
        ) -> NDArray[np.float64]:
            return middle + 120 * np.column_stack((np.cos(turn * time), np.sin(turn * time)))

        yield f"turning {fps} fps", filmed(random, fps, 12, round_, np.repeat(pair, 10, 0))
    for fps in (1, 2, 5):
        width = 90.0
        step = random.uniform(0.3, 0.6, 8) * width * fps

        def slow(time: float, step: NDArray[np.float64] = step) -> NDArray[np.float64]:
            return np.column_stack((60 + step * time, np.arange(8) * 120.0 + 60))

        yield f"low rate {fps} fps", filmed(random, fps, 18 / fps, slow, np.full((8, 2), width), noise=0.02)
