"""Figures of accuracy, by matplotlib (extras ``report`` and ``train``). Every function returns the bytes of a PNG."""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.letters import font_for
from edge_yolov9.scoring.accuracy import Accuracy
from edge_yolov9.text import plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")

WIDEST = 30
"""Classes up to which a confusion matrix has its numbers written in."""


def load_matplotlib() -> None:
    """Import matplotlib without the ``matplotlibrc`` of the current folder, which would come first.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec("matplotlib")
    if "matplotlib" in sys.modules or spec is None or spec.origin is None:
        importlib.import_module("matplotlib")
        return
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(Path(spec.origin).parent)
        importlib.import_module("matplotlib")
    finally:
        os.chdir(here)
        os.close(here)


def plain(draw: Callable[P, bytes]) -> Callable[P, bytes]:
    """Draw as matplotlib does by default, whatever settings were read from files or made by this process."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> bytes:
        load_matplotlib()
        import matplotlib

        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            return draw(*args, **kwargs)

    return drawn


def figure(width: float, height: float) -> Figure:
    """An empty figure, inches. No window, no global state."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def png(drawn: Figure) -> bytes:
    """The file's bytes."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of bundles' and files' names; classes have their index
        drawn.savefig(out, format="png", dpi=110)
    return out.getvalue()


def class_names(names: Sequence[str]) -> list[str]:
    """Class names for a figure, which takes the fonts that they need; the index of a class that no font can write."""
    import matplotlib
    from matplotlib import font_manager

    families, shown = list(matplotlib.rcParams["font.family"]), []
    for index, name in enumerate(names):
        path = None if name.isascii() else font_for(name)
        if path is not None:
            font_manager.fontManager.addfont(path)
            families.append(font_manager.FontProperties(fname=path).get_name())
        shown.append(plot(name) if path is not None or name.isascii() else str(index))
    matplotlib.rcParams["font.family"] = list(dict.fromkeys(families))
    return shown


@plain
def precision_recall(accuracy: Accuracy) -> bytes:
    """Precision over recall at IoU .50, per class and their mean, as COCO interpolates them; some class has a curve."""
    drawn = figure(7, 5)
    axis = drawn.subplots()
    recall = np.linspace(0, 1, 101)
    names = class_names([category.name for category in accuracy.classes])
    shown = [c for c in accuracy.classes if c.curve]
    for category, name in zip(accuracy.classes, names, strict=True):
        if category.curve:
            axis.plot(recall, category.curve, label=f"{name}  AP50 {category.ap50 or 0:.3f}", linewidth=1)
    mean = np.mean([category.curve for category in shown], 0)
    axis.plot(recall, mean, label=f"all  AP50 {accuracy.figures['AP50'] or 0:.3f}", linewidth=2.5, color="black")
    axis.set(xlabel="recall", ylabel="precision at IoU .50", xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    if len(shown) <= WIDEST:
        axis.legend(loc="lower left")
    return png(drawn)


@plain
def confusion_matrix(matrix: NDArray[np.int64], names: Sequence[str]) -> bytes:
    """``matrix`` (nc + 1, nc + 1) as :func:`edge_yolov9.scoring.confusion.confusion` gives it; coloured by column."""
    side = min(4 + 0.45 * len(names), 24)
    drawn = figure(side + 1, side)
    axis = drawn.subplots()
    share = matrix / np.maximum(matrix.sum(0), 1)
    drawn.colorbar(axis.imshow(share, cmap="Blues", vmin=0, vmax=1), label="share of the true class")
    ticks = range(len(matrix))
    literal = class_names(names)
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
