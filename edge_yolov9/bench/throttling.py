"""Temperatures, clocks, and whether the machine slowed down to save itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_yolov9.bench.sensors.probe import missing
from edge_yolov9.bench.sensors.readings import Reading
from edge_yolov9.bench.spread import rounded

HELD_BACK = {0: "under-voltage", 1: "CPU clock capped", 2: "throttled", 3: "soft temperature limit reached"}
"""Bits of ``vcgencmd get_throttled``: now; the same 16 higher, since the board was switched on."""
CLOCK_DROP = 0.05
WARMER_C = 2.0
LEAST_DRIFT = 0.03
MOST_NOISE = 0.25
LEAST_SECONDS = 20.0


def throttling(readings: Sequence[Reading], timeline: Mapping[str, Sequence[float]], seconds: float) -> dict[str, Any]:
    """Whether the sustained run was slowed down.

    Args:
        readings: of the sustained run, in order.
        timeline: of ``stages.sustained``.
        seconds: how long the run took.

    Returns:
        ``verdict`` (throttled; slower, without a sign of heat; steady; too noisy to tell; too short to tell),
        ``reasons``, and
        ``drift_percent``, by which the median latency of the last third lies over that of the first, beside
        ``noise_percent``.
    """
    drift, noise = _drift(timeline["p50"])
    told, cooled = _told(readings), _cooled(readings)
    signs = [*told, *cooled]
    if drift > noise:
        signs.append(
            f"latency of the last third is {100 * drift:.1f} % over that of the first (noise {100 * noise:.1f} %)"
        )
    if told or (cooled and drift > LEAST_DRIFT):
        verdict = "throttled"
    elif drift > noise:
        verdict = "slower"
    elif noise > MOST_NOISE:
        verdict = "too noisy to tell"
    else:
        verdict = "steady" if seconds >= LEAST_SECONDS else "too short to tell"
    if not any(reading.celsius for reading in readings):
        signs.append(missing("temperatures; no sensor under /sys/class/thermal or /sys/class/hwmon can be read"))
    return {
        "verdict": verdict,
        "reasons": signs,
        "drift_percent": rounded(100 * drift),
        "noise_percent": rounded(100 * noise),
    }


def _drift(medians: Sequence[float]) -> tuple[float, float]:
    """Last third over first third, less one, and the least such value that is not noise.

    Noise is one and a half times the interquartile range of the buckets' medians within a third, but 3 % at least.
    """
    first, _, last = np.array_split(np.asarray(medians, np.float64), 3)
    if not len(last):
        return 0.0, LEAST_DRIFT
    base = float(np.median(first))
    ranges = [float(np.subtract(*np.percentile(part, (75, 25)))) for part in (first, last)]
    return float(np.median(last)) / base - 1, max(LEAST_DRIFT, 1.5 * max(ranges) / base)


def _told(readings: Sequence[Reading]) -> list[str]:
    """What the hardware itself says."""
    bits = [reading.held_back for reading in readings if reading.held_back is not None]
    found = []
    if bits:
        now = 0
        for value in bits:
            now |= value & 0xF
        now |= (bits[-1] & ~bits[0]) >> 16 & 0xF
        found = [f"the firmware reports: {text}" for bit, text in HELD_BACK.items() if now >> bit & 1]
    events = [reading.events for reading in readings if reading.events is not None]
    if events and events[-1] > events[0]:
        found.append(f"the processor counted {events[-1] - events[0]} thermal throttling events")
    return found


def _cooled(readings: Sequence[Reading]) -> list[str]:
    """Clocks that fell while it got warmer, last third against first."""
    third = len(readings) // 3
    first, last = readings[:third], readings[len(readings) - third :]
    if not third:
        return []
    warmer = _mean([reading.hottest for reading in last]) - _mean([reading.hottest for reading in first])
    found = []
    for name in readings[0].mhz:
        before, after = (_mean([reading.mhz.get(name) for reading in part]) for part in (first, last))
        if warmer >= WARMER_C and after < (1 - CLOCK_DROP) * before:
            found.append(f"{name} fell from {before:.0f} to {after:.0f} MHz while it got {warmer:.0f} degrees warmer")
    return found


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def section(before: Sequence[Reading], during: Sequence[Reading]) -> dict[str, Any]:
    """Temperatures and clocks of idle and sustained run: ``{name: {idle, mean, max}}``, clocks with ``min`` too."""
    names = {name for reading in during for name in reading.celsius}
    rates = {name for reading in during for name in reading.mhz}
    return {
        "temperatures_c": {
            n: _row([r.celsius.get(n) for r in before], [r.celsius.get(n) for r in during]) for n in sorted(names)
        }
        or missing("no sensor under /sys/class/thermal or /sys/class/hwmon can be read"),
        "clocks_mhz": {n: _row([r.mhz.get(n) for r in before], [r.mhz.get(n) for r in during]) for n in sorted(rates)}
        or missing("neither cpufreq nor /proc/cpuinfo tells clocks"),
    }


def _row(before: Sequence[float | None], during: Sequence[float | None]) -> dict[str, float | None]:
    idle = [value for value in before if value is not None]
    load = [value for value in during if value is not None]
    return {
        "idle": rounded(float(np.mean(idle))) if idle else None,
        "mean": rounded(float(np.mean(load))),
        "min": rounded(min(load)),
        "max": rounded(max(load)),
    }
