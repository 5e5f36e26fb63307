"""Latency of bundles on this machine: one process per bundle, in turn, medians.

Several models in one process evict each other's caches and shift every figure. ``python -m edge_yolov9.report.latency
BUNDLE [RUNTIME]`` is such a process: it prints the median milliseconds of the bundle's own inference.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_yolov9.errors import InferenceError

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


def in_turn(bundles: Sequence[Path], runtime: str | None = None, rounds: int = ROUNDS) -> list[list[float]]:
    """The same, every round's own median: ``found[bundle][round]`` in milliseconds."""
    found: list[list[float]] = [[] for _ in bundles]
    for _ in range(rounds):
        for times, bundle in zip(found, bundles, strict=True):
            times.append(_alone(bundle, runtime))
    return found


def _alone(bundle: Path, runtime: str | None) -> float:
    command = [sys.executable, "-m", "edge_yolov9.report.latency", str(bundle), *([runtime] if runtime else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InferenceError(f"the latency of {bundle} cannot be measured: {reason}")
    return float(done.stdout.split()[-1])


def measure(bundle: Path, runtime: str | None = None) -> float:
    """Median milliseconds of one bundle's inference, in this process."""
    from edge_yolov9 import bundle as bundles
    from edge_yolov9.registry import open_session

    opened = bundles.read(bundle)
    size = (opened.manifest.input.height, opened.manifest.input.width, 3)
    image = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    session = open_session(opened, runtime)
    try:
        times = []
        for _ in range(WARM_UP + FRAMES):
            start = time.perf_counter()
            session.infer(image)
            times.append(1000 * (time.perf_counter() - start))
    finally:
        session.close()
    return statistics.median(times[WARM_UP:])


if __name__ == "__main__":
    print(measure(Path(sys.argv[1]), *sys.argv[2:3]))
