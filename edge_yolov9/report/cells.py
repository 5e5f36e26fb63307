"""Figures of a report as text, each with its spread.

A section is a dataclass of dataclasses and mappings. Its leaves are texts, numbers, measurements
(:mod:`edge_yolov9.bench.spread`), levels of a sensor, and what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from edge_yolov9.bench.energy import Watts
from edge_yolov9.bench.footprint import Package
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.spread import Level, Many, Measurement

UNITS = ("ms", "mb", "mhz", "w", "j", "mj", "c", "s", "percent", "fps", "gb", "khz", "hz", "v", "kb")
SIGNS = {
    **{"mb": "MB", "gb": "GB", "kb": "kB", "mhz": "MHz", "khz": "kHz", "hz": "Hz", "w": "W", "j": "J", "mj": "mJ"},
    **{"c": "°C", "v": "V", "percent": "%"},
}


LEAVES = (Measurement, Level, Watts, Missing, Package)
"""Dataclasses that are shown as one text."""

Path = tuple[str, ...]
"""Keys that lead to a leaf."""


def leaves(section: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Every leaf of a section with the keys that lead to it, in the section's order; nothing of None."""
    if isinstance(section, Mapping):
        for key, value in section.items():
            yield from leaves(value, (*path, str(key)))
    elif is_dataclass(section) and not isinstance(section, LEAVES):
        for part in fields(section):
            value = getattr(section, part.name)
            if part.metadata.get("row", True) and not (value is None and part.default is None):
                yield from leaves(value, (*path, part.name))
    elif path:
        yield path, section


def measurement(value: Measurement) -> str:
    """Median and spread; of many values the upper percentiles too."""
    text = spread(value.centre, value.error)
    if isinstance(value, Many):
        return f"{text} / " + " / ".join(number(part) for part in (value.p90, value.p99, value.max))
    return f"{text} (n = {value.n})"


def spread(value: float | None, deviation: float | None, digits: int | None = None) -> str:
    """``8.812 ± 0.053``: two significant digits of the spread, unless ``digits`` says how many decimals."""
    if value is None:
        return "-"
    if deviation is None:
        return number(value, digits)
    if digits is None:
        digits = min(4, max(0, 1 - math.floor(math.log10(deviation)))) if deviation > 0 else 3
    return f"{value:.{digits}f} ± {deviation:.{digits}f}"


def number(value: float, digits: int | None = None) -> str:
    """Three significant digits, or ``digits`` decimals."""
    if digits is not None:
        return f"{value:.{digits}f}"
    if value == 0 or 100 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.3g}"


def text(value: object) -> str:
    """Any leaf."""
    if isinstance(value, Measurement):
        return measurement(value)
    if isinstance(value, Level):
        return _level(value.mean, idle=value.idle, min=value.min, max=value.max)
    if isinstance(value, Watts):
        return _level(value.mean, peak=value.peak, iqr=value.iqr)
    if isinstance(value, Package):
        return f"{value.version}, {number(value.mb)} MB"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value) or "none"
    return str(value)


def _level(mean: float, **others: object) -> str:
    return f"{number(mean)} ({', '.join(f'{name} {text(value)}' for name, value in others.items())})"


def title(path: tuple[str, ...]) -> str:
    """``("startup_ms", "model_load")`` -> ``startup, model load (ms)``."""
    words, unit = [], ""
    for key in path:
        head, _, tail = key.rpartition("_")
        if head and tail in UNITS:
            key, unit = head, SIGNS.get(tail, tail)
        words.append(key.replace("_", " "))
    return ", ".join(words) + (f" ({unit})" if unit else "")
