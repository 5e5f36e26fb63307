"""Boxes that are there twice, and classes that look exchanged between two splits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data import findings
from edge_yolov9.data.findings import Finding, Findings
from edge_yolov9.data.records import ImageRecord, Split
from edge_yolov9.text import brief

SAME, SAME_OF_TWO = 0.9, 0.98
"""IoU from which two boxes of one class are one, and of two classes."""
MOST_NEIGHBOURS = 64
"""Boxes between two equal ones in the order of their left sides, at most."""
LEAST_OBJECTS, LEAST_APART = 20, 0.5
"""Objects of a class whose sizes tell, and how far apart the sizes of two classes are, at least."""


def find(split: str, records: Sequence[ImageRecord], found: Findings) -> None:
    """Boxes of a split that are there twice in one image, nearly or exactly."""
    owner = np.concatenate([np.full(len(record.labelled), i) for i, record in enumerate(records)] or [np.zeros(0)])
    if not len(owner):
        return
    owner = owner.astype(np.int64)
    boxes = np.concatenate([record.labelled.xyxy for record in records]).astype(np.float64)
    classes = np.concatenate([record.labelled.class_id for record in records])
    single = ~np.concatenate([record.labelled.iscrowd for record in records])
    first = np.concatenate(([0], np.cumsum([len(record.labelled) for record in records])))
    rows = np.flatnonzero(single & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    for kind, pairs in zip(
        (findings.DOUBLE, findings.TWO_CLASSES), _pairs(owner[rows], boxes[rows], classes[rows]), strict=True
    ):
        copies = rows[pairs]
        for image in np.unique(owner[copies]):
            inside = copies[owner[copies] == image] - first[image]
            record = records[int(image)]
            where = _place(record, int(inside[0]))
            found.add(Finding(kind, split, record.path, where, boxes=tuple(inside.tolist())), len(inside))


def _place(record: ImageRecord, index: int) -> str:
    places = record.labelled.places
    file = brief(record.labels or record.path)
    if places is None or places[index] < 0:
        return file
    return f"{file}:{places[index]}" if record.labels else f"{file}, annotation {places[index]}"


def _pairs(
    owner: NDArray[np.int64], boxes: NDArray[np.float64], classes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which boxes are the later copy of another one of their image: of its class, and of another class."""
    order = np.lexsort((boxes[:, 0], owner))
    own, box, kind = owner[order], boxes[order], classes[order]
    width = box[:, 2] - box[:, 0]
    area = width * (box[:, 3] - box[:, 1])
    same, other = np.zeros(len(own), bool), np.zeros(len(own), bool)
    at = np.arange(len(own))
    for step in range(1, MOST_NEIGHBOURS + 1):
        at = at[at + step < len(own)]
        near = at + step
        at = at[(own[near] == own[at]) & (box[near, 0] - box[at, 0] <= (1 - SAME) * width[at])]
        if not len(at):
            break
        near = at + step
        low = np.maximum(box[at, :2], box[near, :2])
        shared = (np.minimum(box[at, 2:], box[near, 2:]) - low).clip(0).prod(axis=1)
        overlap = shared / (area[at] + area[near] - shared)
        alike = kind[at] == kind[near]
        later = np.maximum(order[at], order[near])
        same[later[alike & (overlap >= SAME)]] = True
        other[later[~alike & (overlap >= SAME_OF_TWO)]] = True
    return np.flatnonzero(same), np.flatnonzero(other & ~same)


def exchanged(splits: Sequence[Split], found: Findings) -> None:
    """Pairs of classes of which each has, in the second split, the sizes that the other has in the first."""
    if len(splits) < 2:
        return
    sizes = [_sizes(split) for split in splits[:2]]
    names = splits[0].names
    clear = [i for i in range(len(names)) if all(len(one[i]) >= LEAST_OBJECTS for one in sizes)]
    for place, a in enumerate(clear):
        for b in clear[place + 1 :]:
            straight = min(_apart(sizes[0][a], sizes[1][a]), _apart(sizes[0][b], sizes[1][b]))
            crossed = max(_apart(sizes[0][a], sizes[1][b]), _apart(sizes[0][b], sizes[1][a]))
            if straight >= LEAST_APART and crossed <= straight / 2:
                where = f"{names[a]} and {names[b]}"
                found.add(Finding(findings.SWAPPED, splits[1].name, splits[1].images[0].path, where))


def _sizes(split: Split) -> list[NDArray[np.float64]]:
    """Side of the square as large as each box, as a fraction of its image: sorted, by class."""
    parts: list[list[NDArray[np.float64]]] = [[] for _ in split.names]
    for record in split.images:
        sides = (record.objects.xyxy[:, 2:] - record.objects.xyxy[:, :2]).astype(np.float64)
        size = np.sqrt(sides.prod(axis=1) / (record.height * record.width))
        for index in np.unique(record.class_id):
            parts[index].append(size[record.class_id == index])
    return [np.sort(np.concatenate(part)) if part else np.zeros(0) for part in parts]


def _apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Kolmogorov and Smirnov's distance of two sorted samples, 0 to 1."""
    both = np.concatenate((a, b))
    steps = np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)
    return float(np.abs(steps).max())
