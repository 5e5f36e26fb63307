"""Figures of a report as text, each with its spread.

A section is nested mappings. Its leaves are texts, numbers, levels of a sensor (``mean`` and others), and the two kinds
of measurement of :mod:`edge_yolov9.bench.spread`: many values (``p50``, ..., ``rounds``), a handful (``median``,
``range``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

SKIPPED = ("histogram", "timeline", "replicates", "curve", "matrix", "warnings")
"""What is drawn, or of use to a program alone."""

RANGE = {2: 1.128, 3: 1.693, 4: 2.059, 5: 2.326, 6: 2.534, 7: 2.704, 8: 2.847, 9: 2.970, 10: 3.078}
"""Mean range of n draws from a normal distribution, in standard deviations (the d2 of control charts)."""

UNITS = ("ms", "mb", "mhz", "w", "j", "mj", "c", "s", "percent", "fps", "gb", "khz", "hz", "v", "kb")
SIGNS = {"mb": "MB", "gb": "GB", "kb": "kB", "mhz": "MHz", "khz": "kHz", "hz": "Hz", "w": "W", "j": "J", "mj": "mJ"}
SIGNS |= {"c": "°C", "v": "V", "percent": "%"}


def is_many(value: Any) -> bool:
    """Whether it summarizes many measurements."""
    return isinstance(value, Mapping) and "p50" in value and not isinstance(value["p50"], list)


def is_few(value: Any) -> bool:
    """Whether it is a median of a handful."""
    return isinstance(value, Mapping) and "median" in value


def is_level(value: Any) -> bool:
    """Whether it is what a sensor told over a while."""
    return isinstance(value, Mapping) and "mean" in value


def is_package(value: Any) -> bool:
    """Whether it is an installed package: version and size."""
    return isinstance(value, Mapping) and set(value) == {"version", "mb"}


def is_leaf(value: Any) -> bool:
    """Whether it is shown as one text."""
    return not isinstance(value, Mapping) or is_many(value) or is_few(value) or is_level(value) or is_package(value)


def centre(value: Mapping[str, Any]) -> float:
    """The median of a measurement."""
    return float(value["p50"] if "p50" in value else value["median"])


def error(value: Mapping[str, Any]) -> float | None:
    """Standard deviation that a second measurement of the same kind would show: the range of ``rounds`` (of the
    handful itself) over its mean for as many draws. None where one measurement is all there is."""
    low, high = value["rounds"] if "rounds" in value else value["range"]
    count = _draws(value)
    return (float(high) - float(low)) / RANGE[count] if count > 1 else None


def freedom(value: Mapping[str, Any]) -> float:
    """Degrees of freedom of :func:`error`: a range tells nine tenths of what a standard deviation would."""
    return 0.9 * (_draws(value) - 1)


def _draws(value: Mapping[str, Any]) -> int:
    return min(5 if "rounds" in value else 10, int(value["n"]))


def leaves(section: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf with the keys that lead to it, in the section's order."""
    for key, value in section.items():
        here = (*path, str(key))
        if key in SKIPPED:
            continue
        if is_leaf(value):
            yield here, value
        else:
            yield from leaves(value, here)


def measurement(value: Mapping[str, Any]) -> str:
    """Median and spread; of many values the upper percentiles too."""
    text = spread(centre(value), error(value))
    if not is_many(value):
        return f"{text} (n = {value['n']})"
    return f"{text} / " + " / ".join(number(value[key]) for key in ("p90", "p99", "max"))


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


def text(value: Any) -> str:
    """Any leaf."""
    if is_many(value) or is_few(value):
        return measurement(value)
    if is_level(value):
        others = ", ".join(f"{key} {text(value[key])}" for key in value if key not in ("n", "mean"))
        return f"{text(value['mean'])} ({others})"
    if is_package(value):
        return f"{value['version']}, {text(value['mb'])} MB"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(text(item) for item in value) or "none"
    return str(value)


def title(path: tuple[str, ...]) -> str:
    """``("startup_ms", "model_load")`` -> ``startup, model load (ms)``."""
    words, unit = [], ""
    for key in path:
        head, _, tail = key.rpartition("_")
        if head and tail in UNITS:
            key, unit = head, SIGNS.get(tail, tail)
        words.append(key.replace("_", " "))
    return ", ".join(words) + (f" ({unit})" if unit else "")
