"""From readings in watts to mean, peak and energy per frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_yolov9.bench.sensors.power import Meter
from edge_yolov9.bench.sensors.readings import Reading
from edge_yolov9.bench.spread import ROUNDS, few, rounded


def section(meter: Meter, idle: Sequence[Reading], load: Sequence[Reading], fps: float) -> dict[str, Any] | None:
    """Power of a sustained run.

    Args:
        meter: what the readings come from.
        idle: readings before anything ran.
        load: readings of the sustained run.
        fps: its frames per second.

    Returns:
        ``source``, ``covers``, ``idle_w`` and ``load_w`` (mean, peak, iqr, n), ``above_idle_w``, ``energy_per_frame_j``
        and ``energy_per_frame_above_idle_j`` (median and range over ``ROUNDS`` parts of the run), ``rails``; None where
        no reading of the run told watts. What needs an idle reading is None without one.
    """
    names = {name for reading in load for name in reading.watts}
    if "total" not in names:
        return None
    before, during = _watts(idle, "total"), _watts(load, "total")
    base = float(np.mean(before)) if before else None
    parts = [float(np.mean(part)) for part in np.array_split(during, min(ROUNDS, len(during)))]
    return {
        "source": meter.source,
        "covers": meter.covers,
        "idle_w": _figures(before) if before else None,
        "load_w": _figures(during),
        "above_idle_w": None if base is None else rounded(float(np.mean(during)) - base),
        "energy_per_frame_j": few([watts / fps for watts in parts]),
        "energy_per_frame_above_idle_j": None if base is None else few([(watts - base) / fps for watts in parts]),
        "rails": {name: _rail(_watts(idle, name), _watts(load, name)) for name in sorted(names - {"total"})},
    }


def _watts(readings: Sequence[Reading], name: str) -> list[float]:
    return [reading.watts[name] for reading in readings if name in reading.watts]


def _figures(watts: Sequence[float]) -> dict[str, Any]:
    low, high = (rounded(float(value)) for value in np.percentile(watts, (25, 75)))
    return {"n": len(watts), "mean": rounded(float(np.mean(watts))), "peak": rounded(max(watts)), "iqr": [low, high]}


def _rail(idle: Sequence[float], load: Sequence[float]) -> dict[str, float | None]:
    before = rounded(float(np.mean(idle))) if idle else None
    return {"idle_w": before, "mean_w": rounded(float(np.mean(load))), "peak_w": rounded(max(load))}
