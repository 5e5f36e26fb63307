"""Figures with their spread: how certain a number is goes into the report beside it.

:class:`Many` summarizes a distribution, :class:`Few` a handful, :class:`Level` what a sensor read over a while.
:class:`edge_yolov9.bench.sensors.probe.Missing` stands where there is no figure. Their fields are the keys of JSON.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 5
BINS = 20

RANGE = {2: 1.128, 3: 1.693, 4: 2.059, 5: 2.326, 6: 2.534, 7: 2.704, 8: 2.847, 9: 2.970, 10: 3.078}
"""Mean range of n draws from a normal distribution, in standard deviations (the d2 of control charts)."""

LARGEST = 1e15
"""No measurement of any unit used here comes near it; a file may claim one."""

NOT_A_ROW = {"row": False}
"""Metadata of a field that is drawn, or of use to a program alone: pages and comparisons have no row for it."""

Pair = tuple[float, float]
"""Least, greatest."""


class Measurement(ABC):
    """A median, and how far a second measurement of the same kind would lie from it."""

    n: int
    """How many values were measured."""

    @property
    @abstractmethod
    def centre(self) -> float:
        """The median."""

    @property
    @abstractmethod
    def _draws(self) -> tuple[int, Pair]:
        """How many draws (medians of parts, or measurements) there are, at most ten; their least and greatest."""

    @property
    def error(self) -> float | None:
        """Standard deviation of a second measurement: the range over its mean for as many draws; None of one draw."""
        count, (low, high) = self._draws
        return (high - low) / RANGE[count] if count > 1 else None

    @property
    def freedom(self) -> float:
        """Degrees of freedom of :attr:`error`: a range tells nine tenths of what a standard deviation would."""
        return 0.9 * (self._draws[0] - 1)


@dataclass(frozen=True)
class Histogram:
    """Counts between ``edges``, of which there is one more; the last bin reaches on to the maximum."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.counts or len(self.edges) != len(self.counts) + 1:
            raise ValueError(f"expected one edge more than counts, got {len(self.edges)} and {len(self.counts)}")
        check_size(*self.edges, *self.counts)


@dataclass(frozen=True)
class Many(Measurement):
    """Distribution of many measurements, in their unit."""

    n: int
    p50: float
    p90: float
    p99: float
    max: float
    iqr: Pair
    """25th and 75th percentile."""
    rounds: Pair
    """Least and greatest median of ``ROUNDS`` parts of consecutive values: how far a second measurement may move."""
    histogram: Histogram

    def __post_init__(self) -> None:
        check_size(self.p50, self.p90, self.p99, self.max, *self.iqr, *self.rounds)

    @property
    def centre(self) -> float:
        """The median."""
        return self.p50

    @property
    def _draws(self) -> tuple[int, Pair]:
        return min(ROUNDS, self.n), self.rounds


@dataclass(frozen=True)
class Few(Measurement):
    """A handful of measurements."""

    n: int
    median: float
    range: Pair
    """Least and greatest of them."""

    def __post_init__(self) -> None:
        check_size(self.median, *self.range)

    @property
    def centre(self) -> float:
        """The median."""
        return self.median

    @property
    def _draws(self) -> tuple[int, Pair]:
        return min(max(RANGE), self.n), self.range


@dataclass(frozen=True)
class Level:
    """What a sensor read over a sustained run, and before it (``idle``); None where it did not answer."""

    idle: float | None
    mean: float
    min: float
    max: float


def check_size(*values: float) -> None:
    """Refuse what cannot be a measurement; arithmetic on it would overflow.

    Raises:
        ValueError: a value is beyond ``LARGEST``.
    """
    for value in values:
        if abs(value) > LARGEST:
            raise ValueError(f"expected a measurement below {LARGEST:g}, got {value:g}")


def summary(values: ArrayLike) -> Many:
    """Summarize many measurements, given in the order they were taken."""
    array = np.asarray(values, np.float64)
    low, p25, p50, p75, p90, p99, high = (float(v) for v in np.percentile(array, (0, 25, 50, 75, 90, 99, 100)))
    medians = [float(np.median(part)) for part in np.array_split(array, min(ROUNDS, len(array)))]
    return Many(
        n=len(array),
        p50=rounded(p50),
        p90=rounded(p90),
        p99=rounded(p99),
        max=rounded(high),
        iqr=(rounded(p25), rounded(p75)),
        rounds=(rounded(min(medians)), rounded(max(medians))),
        histogram=_histogram(array, low, p99, high),
    )


def few(values: Sequence[float]) -> Few:
    """Summarize a handful of measurements."""
    return Few(len(values), rounded(statistics.median(values)), (rounded(min(values)), rounded(max(values))))


def rounded(value: float) -> float:
    """Four significant digits or three decimals, whichever is more."""
    return round(float(value), 3) if abs(value) >= 1 else float(f"{value:.4g}")


def _histogram(array: NDArray[np.float64], low: float, p99: float, high: float) -> Histogram:
    """Equal bins up to the 99th percentile; the last one reaches on to the maximum."""
    edges = np.linspace(low, p99, BINS + 1) if p99 > low else np.array([low, max(high, low + 1e-9)])
    counts, _ = np.histogram(np.minimum(array, edges[-1]), edges)
    edges[-1] = max(high, edges[-1])
    return Histogram(tuple(rounded(edge) for edge in edges), tuple(int(count) for count in counts))
