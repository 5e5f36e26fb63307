"""Accuracy of the artifact against the float model, by one evaluator, and the budget it must hold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.reference import HeadsDetector
from edge_yolov9.data import check_names, load_data
from edge_yolov9.decode import EVALUATION
from edge_yolov9.detector import Detector
from edge_yolov9.errors import AccuracyError, InputError
from edge_yolov9.model import RawHeads
from edge_yolov9.report.accuracy import score
from edge_yolov9.report.delta import losers


def check(data: Path, names: tuple[str, ...], max_drop: float) -> None:
    """Before the long work: the data set can be read, has the model's classes, and the budget makes sense.

    Raises:
        DataError: the classes differ, or the val split cannot be read.
        InputError: the budget is negative or not a number.
    """
    if not max_drop >= 0:
        raise InputError(f"--max-drop must not be negative, got {max_drop}")
    check_names(names, load_data(data).split("val").names)


def measure(heads: RawHeads, draft: Bundle, data: Path, max_drop: float, runtime: str | None) -> dict[str, Any]:
    """COCO figures of float and artifact on the val split of ``data``, for the manifest.

    Args:
        heads: the float model.
        draft: the artifact with its unsealed manifest.
        data: DATA file.
        max_drop: budget in AP points (0 to 100).
        runtime: see :func:`edge_yolov9.registry.open_session`.

    Raises:
        DataError: the classes differ, or the split cannot be read.
        AccuracyError: the drop is over the budget.
    """
    dataset = load_data(data)
    split, names = dataset.split("val"), draft.manifest.names
    size = (draft.manifest.input.height, draft.manifest.input.width)
    before = score(HeadsDetector(heads, names, size, EVALUATION), split, names)
    with Detector(draft, runtime=runtime, **asdict(EVALUATION)) as detect:
        after = score(detect, split, names)
    drop = round(100 * (before.ap - after.ap), 3)
    if drop > max_drop:
        raise AccuracyError(
            f"{draft.manifest.precision} loses {drop:.2f} AP points on {data.name} "
            f"({100 * before.ap:.2f} -> {100 * after.ap:.2f}), more than the budget of {max_drop:g}; "
            "no bundle was written. Calibrate with more or better images, choose --precision fp16, or raise --max-drop"
        )
    measured = {"float": before.as_dict(), "artifact": after.as_dict()}
    return {
        "data": data.name,
        "split": "val",
        "images": len(split.images),
        **measured,
        "drop_points": drop,
        "max_drop": max_drop,
        "losing_classes": losers(measured),
    }
