"""Figures, by matplotlib (extras ``report`` and ``train``). Every function returns the bytes of a PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.files import encoded
from edge_yolov9.report.accuracy import Accuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = (("class", "box", "dfl"), ("AP", "AP50", "AP75"), ("lr",), ("images_per_s",))
"""Columns of results.csv that share an axis."""
WIDEST = 30
"""Classes up to which a confusion matrix has its numbers written in."""


def figure(width: float, height: float) -> Figure:
    """An empty figure, inches. No window, no global state."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def png(drawn: Figure) -> bytes:
    """The file's bytes."""
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=110)
    return out.getvalue()


def _literal(text: str) -> str:
    """``text`` as it is: matplotlib would read formulas between dollar signs, and takes UTF-8 alone."""
    return encoded(text).decode().replace("$", r"\$")


def results(history: Sequence[Mapping[str, float]]) -> bytes:
    """Losses, AP, learning rate and speed over the epochs: the rows of results.csv."""
    drawn = figure(11, 6)
    for axis, columns in zip(drawn.subplots(2, 2).flat, CURVES, strict=True):
        for column in columns:
            axis.plot([row["epoch"] for row in history], [row[column] for row in history], label=column, marker=".")
        axis.set_xlabel("epoch")
        axis.legend()
        axis.grid(alpha=0.3)
    return png(drawn)


def precision_recall(accuracy: Accuracy) -> bytes:
    """Precision over recall at IoU .50, per class and their mean, as COCO interpolates them."""
    drawn = figure(7, 5)
    axis = drawn.subplots()
    recall = np.linspace(0, 1, 101)
    shown = [c for c in accuracy.classes if c.curve]
    for one in shown:
        axis.plot(recall, one.curve, label=f"{_literal(one.name)}  AP50 {one.ap50:.3f}", linewidth=1)
    mean = np.mean([one.curve for one in shown], 0)
    axis.plot(recall, mean, label=f"all  AP50 {accuracy.figures['AP50']:.3f}", linewidth=2.5, color="black")
    axis.set(xlabel="recall", ylabel="precision at IoU .50", xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    if len(shown) <= WIDEST:
        axis.legend(loc="lower left")
    return png(drawn)


def confusion_matrix(matrix: NDArray[np.int64], names: Sequence[str]) -> bytes:
    """``matrix`` (nc + 1, nc + 1) as :func:`edge_yolov9.report.confusion.confusion` gives it; coloured by column."""
    side = min(4 + 0.45 * len(names), 24)
    drawn = figure(side + 1, side)
    axis = drawn.subplots()
    share = matrix / np.maximum(matrix.sum(0), 1)
    drawn.colorbar(axis.imshow(share, cmap="Blues", vmin=0, vmax=1), label="share of the true class")
    ticks = range(len(matrix))
    literal = [_literal(name) for name in names]
    axis.set_xticks(ticks, [*literal, "nothing there"], rotation=90)
    axis.set_yticks(ticks, [*literal, "missed"])
    axis.set(xlabel="true", ylabel="found")
    if len(names) <= WIDEST:
        for row in ticks:
            for column in ticks:
                if matrix[row, column]:
                    ink = "white" if share[row, column] > 0.5 else "black"
                    axis.text(column, row, str(matrix[row, column]), ha="center", va="center", color=ink)
    return png(drawn)


def latency_histogram(title: str, histogram: Mapping[str, Sequence[float]]) -> bytes:
    """``edges`` (milliseconds, one more than there are ``counts``; the last bin reaches on to the maximum)."""
    drawn = figure(7, 3)
    axis = drawn.subplots()
    edges, counts = histogram["edges"], histogram["counts"]
    shown = [*edges[:-1], 2 * edges[-2] - edges[-3]] if len(edges) > 2 else edges
    axis.bar(shown[:-1], counts, np.diff(shown), align="edge", edgecolor="white")
    axis.set(title=_literal(title), xlabel=f"ms (last bin: up to {edges[-1]:g})", ylabel="frames")
    axis.grid(alpha=0.3)
    return png(drawn)


Axis = tuple[str, Sequence[float], Mapping[str, Sequence["float | None"]]]
"""Unit, seconds, and the lines by name; None where nothing was told."""


def timeline(title: str, shown: Sequence[Axis]) -> bytes:
    """A sustained run: one axis per unit, above each other."""
    drawn = figure(7, 1 + 1.8 * len(shown))
    axes = drawn.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (unit, seconds, lines) in zip(axes, shown, strict=True):
        for name, values in lines.items():
            axis.plot(seconds, [np.nan if v is None else v for v in values], label=_literal(name), linewidth=1.2)
        axis.set_ylabel(unit)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right", fontsize="small")
    axes[0].set_title(_literal(title))
    axes[-1].set_xlabel("seconds")
    return png(drawn)


Point = tuple[str, float, float, float]
"""Label, x, AP in points (0 to 100), standard error of AP."""


def accuracy_over(label: str, published: Sequence[Point], measured: Sequence[Point]) -> bytes:
    """AP over what ``label`` says: the published family as one line, the user's own models as points."""
    drawn = figure(7, 5)
    axis = drawn.subplots()
    axis.plot([p[1] for p in published], [p[2] for p in published], "o-", color="tab:red", label="YOLOv9, COCO val2017")
    for name, x, ap, _ in published:
        axis.annotate(name, (x, ap), xytext=(6, -12), textcoords="offset points", color="tab:red")
    for name, x, ap, error in measured:
        axis.errorbar([x], [ap], yerr=[error], fmt="s", capsize=3, label=_literal(name))
    axis.set(xlabel=label, ylabel="AP (IoU .50:.95), points")
    axis.set_xlim(0, 1.15 * max(p[1] for p in (*published, *measured)))
    axis.grid(alpha=0.3)
    axis.legend(loc="best", fontsize="small")
    return png(drawn)
