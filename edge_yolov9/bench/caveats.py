"""What a reader of the figures must know before trusting them."""

from __future__ import annotations

from collections.abc import Mapping

from edge_yolov9.bench.energy import NoPower, Power
from edge_yolov9.bench.measured import Latency
from edge_yolov9.bench.sensors.machine import Machine
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.spread import Many
from edge_yolov9.bench.throttling import Heat

LEAST_SECONDS = 60.0
LEAST_FRAMES = 100
OTHER_LOAD = 0.1
"""Cores that others may keep busy without a warning."""
UNSTEADY = 0.1
"""Medians of rounds may differ by this share."""


def collect(machine: Machine, latency: Latency, before: float | None, beside: float | None) -> list[str]:
    """Warnings, one line each.

    Args:
        machine: facts about the machine.
        latency: what was measured on it.
        before: cores that were busy before anything was started, None when unknown.
        beside: cores that others kept busy meanwhile, None when unknown.
    """
    return [
        *governor_warnings(machine.governor),
        *load_warnings("before the measurement", before),
        *load_warnings("during the measurement", beside),
        *length_warnings(latency.sustained.seconds, latency.stages.total.n),
        *noise_warnings(latency.stages.total),
    ]


def governor_warnings(governor: Mapping[str, str] | Missing) -> list[str]:
    """Warning of clocks that are not held at their greatest."""
    if isinstance(governor, Missing):
        return []
    others = sorted(set(governor.values()) - {"performance"})
    if not others:
        return []
    return [f"the cpufreq governor is {', '.join(others)}, not performance: clocks follow the load"]


def load_warnings(when: str, cores: float | None) -> list[str]:
    """Warning of other programs."""
    if cores is None:
        return [f"the load of others {when} is {Missing('/proc/stat cannot be read')}"]
    return [f"other programs kept {cores:.1f} cores busy {when}"] if cores > OTHER_LOAD else []


def length_warnings(seconds: float, frames: int) -> list[str]:
    """Warnings of runs that are too short for what is said about them."""
    warnings = []
    if seconds < LEAST_SECONDS:
        warnings.append(f"the sustained run took {seconds:.0f} s; heat shows after {LEAST_SECONDS:.0f} s or more")
    if frames < LEAST_FRAMES:
        warnings.append(f"latency by stage is of {frames} frames; p99 needs {LEAST_FRAMES} or more")
    return warnings


def noise_warnings(total: Many) -> list[str]:
    """Warning of latency that moved while it was measured."""
    low, high = total.rounds
    share = (high - low) / total.p50
    if share <= UNSTEADY:
        return []
    return [f"latency was unsteady: medians of {total.p50:g} ms moved by {100 * share:.0f} % between rounds"]


def unread_sensors(power: Power | NoPower, heat: Heat) -> dict[str, str]:
    """Sensors that gave nothing, by name, and why."""
    absent = {
        "power": power.unavailable if isinstance(power, NoPower) else None,
        "temperatures": heat.temperatures_c,
        "clocks": heat.clocks_mhz,
    }
    return {name: value.reason for name, value in absent.items() if isinstance(value, Missing)}
