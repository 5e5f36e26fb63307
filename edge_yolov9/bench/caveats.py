"""What a reader of the figures must know before trusting them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_yolov9.bench.sensors.probe import MISSING

LEAST_SECONDS = 60.0
LEAST_FRAMES = 100
OTHER_LOAD = 0.1
"""Cores."""
UNSTEADY = 0.1
"""Medians of rounds may differ by this share."""


def collect(found: Mapping[str, Any], before: float | None, beside: float | None) -> list[str]:
    """Warnings, one line each.

    Args:
        found: the sections of :func:`edge_yolov9.bench.suite.measure`.
        before: cores that were busy before anything was started, None when unknown.
        beside: cores that others kept busy meanwhile, None when unknown.
    """
    return [
        *_governor(found["machine"]["governor"]),
        *_load("before the measurement", before),
        *_load("during the measurement", beside),
        *_length(found["latency"]),
        *_noise(found["latency"]),
    ]


def _governor(governor: Any) -> list[str]:
    if isinstance(governor, str):
        return []
    others = sorted(set(governor.values()) - {"performance"})
    if not others:
        return []
    return [f"the cpufreq governor is {', '.join(others)}, not performance: clocks follow the load"]


def _load(when: str, cores: float | None) -> list[str]:
    if cores is None:
        return [f"the load of others {when} is {MISSING}/proc/stat cannot be read"]
    return [f"other programs kept {cores:.1f} cores busy {when}"] if cores > OTHER_LOAD else []


def _length(latency: Mapping[str, Any]) -> list[str]:
    seconds, frames = latency["sustained"]["seconds"], latency["stages"]["total"]["n"]
    found = []
    if seconds < LEAST_SECONDS:
        found.append(f"the sustained run took {seconds:.0f} s; heat shows after {LEAST_SECONDS:.0f} s or more")
    if frames < LEAST_FRAMES:
        found.append(f"latency by stage is of {frames} frames; p99 needs {LEAST_FRAMES} or more")
    return found


def _noise(latency: Mapping[str, Any]) -> list[str]:
    total = latency["stages"]["total"]
    low, high = total["rounds"]
    share = (high - low) / total["p50"]
    if share <= UNSTEADY:
        return []
    return [f"latency was unsteady: medians of {total['p50']:g} ms moved by {100 * share:.0f} % between rounds"]


def unread(found: Mapping[str, Any]) -> dict[str, str]:
    """Sensors that told nothing, by name, and why."""
    heat = found["heat"]
    told = {
        "power": found["power"].get("unavailable"),
        "temperatures": heat["temperatures_c"],
        "clocks": heat["clocks_mhz"],
    }
    return {name: value.removeprefix(MISSING) for name, value in told.items() if isinstance(value, str)}
