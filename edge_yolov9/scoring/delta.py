"""What quantization did to accuracy, from the figures in a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edge_yolov9.text import printable

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")
LOSS = 2.0
"""AP points beyond which a class is named."""

Row = tuple[str, float | None, float | None]
"""What, float, artifact; AP in [0, 1], None where there is nothing to find."""


def rows(accuracy: Mapping[str, Any]) -> Iterator[Row]:
    """The figures over all classes, then the AP of each class.

    Args:
        accuracy: ``manifest.accuracy``: ``float`` and ``artifact``, each as ``Accuracy.as_dict`` gives it.
    """
    before, after = accuracy["float"], accuracy["artifact"]
    for name in SHOWN:
        yield name, before[name], after[name]
    for one, other in zip(before["classes"], after["classes"], strict=True):
        yield f"AP of {one['name']}", one["AP"], other["AP"]


def losers(accuracy: Mapping[str, Any]) -> dict[str, float]:
    """Classes that lose more than ``LOSS`` AP points, the worst first, and how many each loses."""
    pairs = zip(accuracy["float"]["classes"], accuracy["artifact"]["classes"], strict=True)
    lost = {a["name"]: 100 * (a["AP"] - (b["AP"] or 0.0)) for a, b in pairs if a["AP"] is not None}
    return {name: round(points, 2) for name, points in sorted(lost.items(), key=lambda i: -i[1]) if points > LOSS}


def table(accuracy: Mapping[str, Any], precision: str) -> str:
    """Plain text of several lines: float, artifact and the difference in AP points (minus: lost)."""
    found = [(printable(name), before, after) for name, before, after in rows(accuracy)]
    width = max(len(name) for name, _, _ in found)
    lines = [f"{'':<{width}}   float  {precision:>6}  points"]
    for name, before, after in found:
        if before is None or after is None:
            lines.append(f"{name:<{width}}       -       -       -")
        else:
            lines.append(f"{name:<{width}}  {before:6.4f}  {after:6.4f}  {100 * (after - before):+6.2f}")
    return "\n".join(lines)
