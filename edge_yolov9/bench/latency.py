"""Latency of bundles on this machine: one process per bundle, in turn, medians.

Several models in one process evict each other's caches and shift every figure; see ``child.py``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_yolov9.bench import child
from edge_yolov9.bundle import read
from edge_yolov9.errors import EdgeYoloError, InferenceError
from edge_yolov9.registry import open_session

ROUNDS = 5
WARM_UP = 10
FRAMES = 40


def compare(bundles: Sequence[Path], runtime: str | None = None, rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each bundle's inference (letterboxed frame in, raw tensors out), median over ``rounds``.

    Args:
        bundles: sealed bundles.
        runtime: see :func:`edge_yolov9.registry.open_session`.
        rounds: how often each is measured, always after the others.

    Raises:
        InferenceError: one of them does not run.
    """
    return [round(statistics.median(times), 3) for times in in_turn(bundles, runtime, rounds)]


def in_turn(
    bundles: Sequence[Path], runtime: str | None = None, rounds: int = ROUNDS, key: str | None = None
) -> list[list[float]]:
    """Milliseconds of each bundle's inference in each round, ``[bundle][round]``; arguments as for :func:`compare`.

    ``key`` is the public key that must have signed them.
    """
    by_bundle: list[list[float]] = [[] for _ in bundles]
    for _ in range(rounds):
        for times, bundle in zip(by_bundle, bundles, strict=True):
            times.append(_alone(bundle, runtime, key))
    return by_bundle


def _alone(bundle: Path, runtime: str | None, key: str | None) -> float:
    try:
        return child.run("latency", Settings(str(bundle), runtime, key), Latency, lambda text: None).ms
    except EdgeYoloError as error:
        raise InferenceError(f"the latency of {bundle} cannot be measured: {error}") from error


@dataclass(frozen=True)
class Settings:
    """What a latency is measured of."""

    bundle: str
    runtime: str | None
    key: str | None = None
    """Public key that must have signed it."""


@dataclass(frozen=True)
class Latency:
    """Median of one bundle's inference, in one process."""

    ms: float


def time_inference(settings: Settings, progress: child.TextProgress) -> Latency:
    """Time a bundle in this process; ``progress`` is not called."""
    opened = read(settings.bundle, key=settings.key)
    size = (opened.manifest.input.height, opened.manifest.input.width, 3)
    image = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    session = open_session(opened, settings.runtime)
    try:
        times = []
        for _ in range(WARM_UP + FRAMES):
            start = time.perf_counter()
            session.infer(image)
            times.append(1000 * (time.perf_counter() - start))
    finally:
        session.close()
    return Latency(statistics.median(times[WARM_UP:]))


if __name__ == "__main__":
    child.answer(Settings, time_inference)
