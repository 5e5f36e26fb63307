"""Figures, by matplotlib (extras ``report`` and ``train``). Every function returns the bytes of a PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_yolov9.bench.spread import Histogram
from edge_yolov9.scoring.curves import figure, plain, png
from edge_yolov9.text import plot


@plain
def latency_histogram(title: str, histogram: Histogram) -> bytes:
    """A histogram of milliseconds."""
    drawn = figure(7, 3)
    axis = drawn.subplots()
    edges, counts = histogram.edges, histogram.counts
    shown = [*edges[:-1], 2 * edges[-2] - edges[-3]] if len(edges) > 2 else edges
    axis.bar(shown[:-1], counts, np.diff(shown), align="edge", edgecolor="white")
    axis.set(title=plot(title), xlabel=f"ms (last bin: up to {edges[-1]:g})", ylabel="frames")
    axis.grid(alpha=0.3)
    return png(drawn)


Axis = tuple[str, Sequence[float], Mapping[str, Sequence["float | None"]]]
"""Unit, seconds, and the lines by name; None where a sensor did not answer."""


@plain
def timeline(title: str, shown: Sequence[Axis]) -> bytes:
    """A sustained run: one axis per unit, above each other."""
    drawn = figure(7, 1 + 1.8 * len(shown))
    axes = drawn.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (unit, seconds, lines) in zip(axes, shown, strict=True):
        for name, values in lines.items():
            axis.plot(seconds, [np.nan if v is None else v for v in values], label=plot(name), linewidth=1.2)
        axis.set_ylabel(unit)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right", fontsize="small")
    axes[0].set_title(plot(title))
    axes[-1].set_xlabel("seconds")
    return png(drawn)


Point = tuple[str, float, float, float]
"""Label, x, AP in points (0 to 100), standard error of AP."""


@plain
def accuracy_over(label: str, published: Sequence[Point], measured: Sequence[Point]) -> bytes:
    """AP over what ``label`` says: the published family as one line, the user's own models as points."""
    drawn = figure(7, 5)
    axis = drawn.subplots()
    axis.plot([p[1] for p in published], [p[2] for p in published], "o-", color="tab:red", label="YOLOv9, COCO val2017")
    for name, x, ap, _ in published:
        axis.annotate(name, (x, ap), xytext=(6, -12), textcoords="offset points", color="tab:red")
    for name, x, ap, error in measured:
        axis.errorbar([x], [ap], yerr=[error], fmt="s", capsize=3, label=plot(name))
    axis.set(xlabel=label, ylabel="AP (IoU .50:.95), points")
    axis.set_xlim(0, 1.15 * max(p[1] for p in (*published, *measured)))
    axis.grid(alpha=0.3)
    axis.legend(loc="best", fontsize="small")
    return png(drawn)
