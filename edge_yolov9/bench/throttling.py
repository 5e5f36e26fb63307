"""Temperatures, clocks, and whether the machine slowed down to save itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.sensors.readings import Reading
from edge_yolov9.bench.spread import Level, rounded

HELD_BACK = {0: "under-voltage", 1: "CPU clock capped", 2: "throttled", 3: "soft temperature limit reached"}
"""Bits of ``vcgencmd get_throttled``: now; the same 16 higher, since the board was switched on."""
CLOCK_DROP = 0.05
WARMER_C = 2.0
LEAST_DRIFT = 0.03
MOST_NOISE = 0.25
LEAST_SECONDS = 20.0


@dataclass(frozen=True)
class Throttling:
    """Whether a sustained run was slowed down."""

    verdict: str
    """throttled; slower (without a sign of heat); steady; too noisy to tell; too short to tell."""
    reasons: tuple[str, ...]
    drift_percent: float
    """By how much the median latency of the last third lies over that of the first."""
    noise_percent: float
    """Drift up to which it is noise."""


@dataclass(frozen=True)
class Heat:
    """Temperatures (degrees Celsius) and clocks (MHz) by sensor, when idle and during the sustained run."""

    temperatures_c: Mapping[str, Level] | Missing
    clocks_mhz: Mapping[str, Level] | Missing
    throttling: Throttling


def heat_section(idle: Sequence[Reading], load: Sequence[Reading], medians: Sequence[float], seconds: float) -> Heat:
    """Heat of a sustained run.

    Args:
        idle: readings before the run.
        load: readings of the run, in order.
        medians: median latency of each bucket of the run, ms.
        seconds: how long the run took.
    """
    return Heat(
        temperatures_c=_levels([r.celsius for r in idle], [r.celsius for r in load])
        or Missing("no sensor under /sys/class/thermal or /sys/class/hwmon can be read"),
        clocks_mhz=_levels([r.mhz for r in idle], [r.mhz for r in load])
        or Missing("neither cpufreq nor /proc/cpuinfo gives clocks"),
        throttling=judge_throttling(load, medians, seconds),
    )


def judge_throttling(readings: Sequence[Reading], medians: Sequence[float], seconds: float) -> Throttling:
    """The verdict on a sustained run; arguments as for :func:`heat_section`."""
    drift, noise = _drift(medians)
    reported, cooled = _reported(readings), _cooled(readings)
    signs = [*reported, *cooled]
    if drift > noise:
        signs.append(
            f"latency of the last third is {100 * drift:.1f} % over that of the first (noise {100 * noise:.1f} %)"
        )
    if reported or (cooled and drift > LEAST_DRIFT):
        verdict = "throttled"
    elif drift > noise:
        verdict = "slower"
    elif noise > MOST_NOISE:
        verdict = "too noisy to tell"
    else:
        verdict = "steady" if seconds >= LEAST_SECONDS else "too short to tell"
    if not any(reading.celsius for reading in readings):
        signs.append(str(Missing("temperatures; no sensor under /sys/class/thermal or /sys/class/hwmon can be read")))
    return Throttling(verdict, tuple(signs), rounded(100 * drift), rounded(100 * noise))


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


def _reported(readings: Sequence[Reading]) -> list[str]:
    """Signs of throttling that firmware and processor report themselves."""
    bits = [reading.held_back for reading in readings if reading.held_back is not None]
    signs = []
    if bits:
        now = 0
        for value in bits:
            now |= value & 0xF
        now |= (bits[-1] & ~bits[0]) >> 16 & 0xF
        signs = [f"the firmware reports: {text}" for bit, text in HELD_BACK.items() if now >> bit & 1]
    events = [reading.events for reading in readings if reading.events is not None]
    if events and events[-1] > events[0]:
        signs.append(f"the processor counted {events[-1] - events[0]} thermal throttling events")
    return signs


def _cooled(readings: Sequence[Reading]) -> list[str]:
    """Clocks that fell while it got warmer, last third against first."""
    third = len(readings) // 3
    first, last = readings[:third], readings[len(readings) - third :]
    if not third:
        return []
    warmer = _mean([reading.hottest for reading in last]) - _mean([reading.hottest for reading in first])
    signs = []
    for name in readings[0].mhz:
        before, after = (_mean([reading.mhz.get(name) for reading in part]) for part in (first, last))
        if warmer >= WARMER_C and after < (1 - CLOCK_DROP) * before:
            signs.append(f"{name} fell from {before:.0f} to {after:.0f} MHz while it got {warmer:.0f} degrees warmer")
    return signs


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _levels(before: Sequence[Mapping[str, float]], during: Sequence[Mapping[str, float]]) -> dict[str, Level]:
    """The levels of every sensor that was read during the run."""
    names = sorted({name for values in during for name in values})
    return {name: _level(_values(before, name), _values(during, name)) for name in names}


def _values(readings: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [values[name] for values in readings if name in values]


def _level(idle: Sequence[float], load: Sequence[float]) -> Level:
    before = rounded(float(np.mean(idle))) if idle else None
    return Level(before, rounded(float(np.mean(load))), rounded(min(load)), rounded(max(load)))
