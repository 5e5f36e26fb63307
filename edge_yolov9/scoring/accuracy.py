"""COCO AP, by pycocotools: one implementation for checkpoints and bundles."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data import Split, check_names, read_data
from edge_yolov9.data.findings import Tell
from edge_yolov9.detections import Detections
from edge_yolov9.errors import DataError
from edge_yolov9.images import read_image
from edge_yolov9.text import table

FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""COCO's twelve, in COCO's order: over IoU .50:.95, at .50, at .75; small, medium, large; recall at most 1, 10, 100."""

Detect = Callable[[NDArray[np.uint8]], Detections]
CountProgress = Callable[[int, int], None]
"""Is called with (images done, images in all)."""
Row = dict[str, Any]
"""An annotation or a result as pycocotools wants it."""


@dataclass(frozen=True)
class Figures:
    """``FIGURES``, in [0, 1]; None where the split holds no object of that size."""

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None

    def by_name(self) -> dict[str, float | None]:
        """Each of ``FIGURES`` by its name."""
        return {name: getattr(self, name) for name in FIGURES}


@dataclass(frozen=True)
class ClassScore:
    """AP of one class, as JSON has it; None where the split holds no object to find."""

    name: str
    AP: float | None
    AP50: float | None
    objects: int


@dataclass(frozen=True)
class Scores(Figures):
    """What JSON has of an :class:`Accuracy`."""

    images: int
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True)
class ClassAccuracy:
    """One class. AP is in [0, 1]; None where the split holds no object to find."""

    name: str
    ap: float | None
    ap50: float | None
    objects: int
    """In the split, crowd regions left out."""
    curve: tuple[float, ...] = ()
    """Precision at IoU .50 for recall 0, .01, ... 1; empty where there is nothing to find."""


@dataclass(frozen=True)
class Accuracy:
    """What COCO's evaluation says."""

    figures: Mapping[str, float | None]
    """``FIGURES`` in [0, 1]; None where the split holds no object of that size."""
    classes: tuple[ClassAccuracy, ...]
    images: int
    replicates: tuple[Accuracy, ...] = ()
    """Accuracy with one group of images left out, for each group; see :mod:`edge_yolov9.scoring.noise`."""

    @property
    def ap(self) -> float:
        """AP over IoU .50:.95, all sizes, in [0, 1]."""
        return self.figures["AP"] or 0.0

    def scores(self) -> Scores:
        """The twelve figures, the number of images, and the classes."""
        classes = tuple(ClassScore(c.name, c.ap, c.ap50, c.objects) for c in self.classes)
        return Scores(**{name: self.figures[name] for name in FIGURES}, images=self.images, classes=classes)

    def as_dict(self) -> dict[str, Any]:
        """:meth:`scores` for JSON: the twelve figures, ``images``, and ``classes`` with name, AP, AP50, objects."""
        return asdict(self.scores())

    def table(self) -> str:
        """Plain text of several lines, no line end at the end."""
        figures = table([(name, _text(self.figures[name])) for name in FIGURES])
        classes = [(c.name, _text(c.ap), _text(c.ap50), str(c.objects)) for c in self.classes]
        return f"{figures}\n\n{table([('class', 'AP', 'AP50', 'objects'), *classes])}"


def labelled_split(
    data: Path,
    name: str,
    *,
    strict: bool = False,
    tell: Tell = lambda line: None,
    progress: CountProgress | None = None,
) -> Split:
    """A split of a DATA file that AP can be measured on; arguments as for :func:`read_data`.

    Raises:
        DataError: it cannot be read, is empty, or nothing in it is labelled.
    """
    split = read_data(data, (name,), strict=strict, tell=tell, progress=progress).splits[name]
    check_labelled(split, data)
    return split


def check_labelled(split: Split, data: Path) -> None:
    """Refuse a split that AP cannot be measured on; ``data`` is its DATA file.

    Raises:
        DataError: nothing in it is labelled.
    """
    if not any(len(record.class_id) and not record.iscrowd.all() for record in split.images):
        crowds = sum(int(record.iscrowd.sum()) for record in split.images)
        why = f": its {crowds} objects are crowd regions (iscrowd), which no detection can match" if crowds else ""
        raise DataError(
            f"no object is labelled in the {split.name} split of {data}, so there is no AP to measure on it{why}"
        )


def score(detect: Detect, split: Split, names: tuple[str, ...], progress: CountProgress | None = None) -> Accuracy:
    """Run a detector over a split, one image in memory at a time, and evaluate it.

    Args:
        detect: frame (H, W, 3) uint8 BGR -> Detections in its pixels; low confidence and multi-label, as COCO wants.
        split: images and ground truth.
        names: the model's classes.
        progress: is called after every image.

    Raises:
        DataError: the classes differ, or the annotations are of images of another size.
        SourceError: an image is missing or does not decode.
    """
    check_names(names, split.names)
    by_image: dict[int, Detections] = {}
    for done, record in enumerate(split.images, 1):
        frame = read_image(record.path)
        if frame.shape[:2] != record.size:
            raise DataError(
                f"the annotations of {record.path} are for {record.width} x {record.height} pixels, "
                f"the image has {frame.shape[1]} x {frame.shape[0]}; annotate the images as they are"
            )
        by_image[record.image_id] = detect(frame)
        if progress is not None:
            progress(done, len(split.images))
    return evaluate(by_image, split, names)


def evaluate(detections: Mapping[int, Detections], split: Split, names: tuple[str, ...], groups: int = 0) -> Accuracy:
    """COCO's box evaluation with its official IoUs, area ranges and at most 100 detections per image.

    Args:
        detections: by ``image_id``, in pixels of each image; an image without an entry has none.
        split: ground truth.
        names: the model's classes.
        groups: into how many the images are dealt, in turn, for ``replicates``; each costs one more accumulation.

    Raises:
        DataError: the classes differ, ids repeat or are unknown, the split holds no object, or a label is malformed.
    """
    check_names(names, split.names)
    ids = [record.image_id for record in split.images]
    if len(set(ids)) != len(ids) or not set(detections) <= set(ids):
        raise DataError(f"image ids of {split.name} must be unique, and detections must be of its images")
    truth = _ground_truth(split)
    if not truth:
        raise DataError(f"the split {split.name} holds no labelled object; AP needs some")
    run = _cocoeval(ids, names, truth, _results(detections))
    replicates = []
    matched, kept = run.evalImgs, sorted(ids)
    for group in range(groups):
        out = set(kept[group::groups])
        run.evalImgs = [row if kept[i % len(kept)] not in out else None for i, row in enumerate(matched)]
        rest = [row for row in truth if row["image_id"] not in out]
        replicates.append(_summary(run, names, rest, len(kept) - len(out)))
    run.evalImgs = matched
    return replace(_summary(run, names, truth, len(ids)), replicates=tuple(replicates))


def _summary(run: Any, names: tuple[str, ...], truth: list[Row], images: int) -> Accuracy:
    with contextlib.redirect_stdout(io.StringIO()):
        run.accumulate()
        run.summarize()
    figures = {name: _figure(value) for name, value in zip(FIGURES, run.stats, strict=True)}
    return Accuracy(figures, _per_class(run.eval["precision"], names, truth), images)


def _cocoeval(ids: list[int], names: tuple[str, ...], truth: list[Row], results: list[Row]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def index(annotations: list[Row]) -> Any:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in ids],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
            "annotations": [{**row, "id": i} for i, row in enumerate(annotations, 1)],  # 0 would mean "no match"
        }
        coco.createIndex()
        return coco

    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(index(truth), index(results), "bbox")
        run.evaluate()
    return run


def _ground_truth(split: Split) -> list[Row]:
    rows: list[Row] = []
    for record in split.images:
        objects = zip(record.xyxy.tolist(), record.class_id, record.area, record.iscrowd, strict=True)
        for (x1, y1, x2, y2), index, area, crowd in objects:
            box = {"image_id": record.image_id, "category_id": int(index) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            rows.append({**box, "area": float(area), "iscrowd": int(crowd), "ignore": 0})
    return rows


def _results(by_image: Mapping[int, Detections]) -> list[Row]:
    rows = []
    for image_id, detections in by_image.items():
        for row in detections.as_coco(image_id):
            rows.append({**row, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0})
    return rows


def _per_class(precision: NDArray[np.float64], names: tuple[str, ...], truth: list[Row]) -> tuple[ClassAccuracy, ...]:
    """``precision`` is pycocotools' (IoU, recall, class, area range, maximum of detections)."""
    counts = [0] * len(names)
    for row in truth:
        counts[row["category_id"] - 1] += not row["iscrowd"]
    return tuple(
        ClassAccuracy(
            name,
            _mean(precision[:, :, k, 0, -1]),
            _mean(precision[0, :, k, 0, -1]),
            counts[k],
            tuple(float(value) for value in precision[0, :, k, 0, -1] if value > -1),
        )
        for k, name in enumerate(names)
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    """pycocotools writes -1 where there is nothing to find."""
    valid = values[values > -1]
    return _figure(valid.mean()) if valid.size else None


def _figure(value: float) -> float | None:
    return None if value < 0 else round(float(value), 6)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
