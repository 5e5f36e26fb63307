"""From readings in watts to mean, peak and energy per frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_yolov9.bench.sensors.power import Meter
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.sensors.readings import Reading
from edge_yolov9.bench.spread import ROUNDS, Few, Pair, few, rounded


@dataclass(frozen=True)
class Watts:
    """Readings of a power meter over a while, watts."""

    n: int
    mean: float
    peak: float
    iqr: Pair
    """25th and 75th percentile."""


@dataclass(frozen=True)
class Rail:
    """One supply rail, watts; ``idle_w`` is None where it was not read before the run."""

    idle_w: float | None
    mean_w: float
    peak_w: float


@dataclass(frozen=True)
class Power:
    """Power of a sustained run; what needs an idle reading is None without one."""

    source: str
    """Where the readings come from."""
    covers: str
    """Which part of the machine the watts are of."""
    idle_w: Watts | None
    load_w: Watts
    above_idle_w: float | None
    """Mean under load less mean when idle, watts."""
    energy_per_frame_j: Few
    """Joules, over ``ROUNDS`` parts of the run."""
    energy_per_frame_above_idle_j: Few | None
    rails: Mapping[str, Rail]


@dataclass(frozen=True)
class NoPower:
    """The power section where no meter works here."""

    unavailable: Missing


def power_section(meter: Meter, idle: Sequence[Reading], load: Sequence[Reading], fps: float) -> Power | NoPower:
    """Power of a sustained run.

    Args:
        meter: what the readings come from.
        idle: readings before anything ran.
        load: readings of the sustained run.
        fps: frames per second of the sustained run.
    """
    names = {name for reading in load for name in reading.watts}
    if "total" not in names:
        return NoPower(Missing(f"{meter.source} gave no watts during the run"))
    before, during = _watts(idle, "total"), _watts(load, "total")
    base = float(np.mean(before)) if before else None
    parts = [float(np.mean(part)) for part in np.array_split(during, min(ROUNDS, len(during)))]
    return Power(
        source=meter.source,
        covers=meter.covers,
        idle_w=_figures(before) if before else None,
        load_w=_figures(during),
        above_idle_w=None if base is None else rounded(float(np.mean(during)) - base),
        energy_per_frame_j=few([watts / fps for watts in parts]),
        energy_per_frame_above_idle_j=None if base is None else few([(watts - base) / fps for watts in parts]),
        rails={name: _rail(_watts(idle, name), _watts(load, name)) for name in sorted(names - {"total"})},
    )


def _watts(readings: Sequence[Reading], name: str) -> list[float]:
    return [reading.watts[name] for reading in readings if name in reading.watts]


def _figures(watts: Sequence[float]) -> Watts:
    low, high = (rounded(float(value)) for value in np.percentile(watts, (25, 75)))
    return Watts(len(watts), rounded(float(np.mean(watts))), rounded(max(watts)), (low, high))


def _rail(idle: Sequence[float], load: Sequence[float]) -> Rail:
    before = rounded(float(np.mean(idle))) if idle else None
    return Rail(before, rounded(float(np.mean(load))), rounded(max(load)))
