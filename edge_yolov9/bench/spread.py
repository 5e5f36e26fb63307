"""Figures with their spread: how certain a number is goes into the report beside it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 5
BINS = 20


def summary(values: ArrayLike, rounds: int = ROUNDS) -> dict[str, Any]:
    """Distribution of many measurements, in their unit and in the order they were taken.

    Returns:
        ``n``, ``p50``, ``p90``, ``p99``, ``max``, ``iqr`` [p25, p75], ``rounds`` (least and greatest median of
        ``rounds`` runs of neighbours: what a second measurement would move by) and ``histogram``.
    """
    array = np.asarray(values, np.float64)
    low, p25, p50, p75, p90, p99, high = (float(v) for v in np.percentile(array, (0, 25, 50, 75, 90, 99, 100)))
    medians = [float(np.median(part)) for part in np.array_split(array, min(rounds, len(array)))]
    return {
        "n": len(array),
        "p50": rounded(p50),
        "p90": rounded(p90),
        "p99": rounded(p99),
        "max": rounded(high),
        "iqr": [rounded(p25), rounded(p75)],
        "rounds": [rounded(min(medians)), rounded(max(medians))],
        "histogram": _histogram(array, low, p99, high),
    }


def few(values: Sequence[float]) -> dict[str, Any]:
    """A handful of measurements: ``n``, ``median`` and ``range`` [least, greatest]."""
    return {
        "n": len(values),
        "median": rounded(statistics.median(values)),
        "range": [rounded(min(values)), rounded(max(values))],
    }


def rounded(value: float) -> float:
    """Four significant digits or three decimals, whichever is more."""
    return round(float(value), 3) if abs(value) >= 1 else float(f"{value:.4g}")


def _histogram(array: NDArray[np.float64], low: float, p99: float, high: float) -> dict[str, Any]:
    """Equal bins up to the 99th percentile; the last one reaches on to the maximum."""
    edges = np.linspace(low, p99, BINS + 1) if p99 > low else np.array([low, max(high, low + 1e-9)])
    counts, _ = np.histogram(np.minimum(array, edges[-1]), edges)
    edges[-1] = max(high, edges[-1])
    return {"edges": [rounded(edge) for edge in edges], "counts": [int(count) for count in counts]}
