"""The data check before a run: what is in the data, what is wrong with it, and what trains."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from edge_yolov9.data import Dataset, ImageRecord, Split
from edge_yolov9.data.checks.check import Checked, check
from edge_yolov9.data.findings import Finding, Findings
from edge_yolov9.data.look import CountProgress
from edge_yolov9.data.reader import listed_split
from edge_yolov9.errors import DataError
from edge_yolov9.text import short
from edge_yolov9.train.dataset import Picture


@dataclass(frozen=True)
class Survey:
    """What the check found."""

    pictures: tuple[Picture, ...]
    """Training images that can be used, with their boxes clipped to the image."""
    val: Split
    """The images of the val split that can be used."""
    digest: str
    """sha256 over the content of the training images and their boxes."""
    findings: Findings
    summary: str
    """Several lines: images and objects per class and split, and the findings."""

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What a person must know; of each kind the first."""
        return self.findings.problems()


def survey(train: Split, val: Split, progress: CountProgress | None = None) -> Survey:
    """Read every file once. Errors are left to ``findings.settle``; what trains is right where there is none.

    Raises:
        DataError: no training image has a usable object.
    """
    found = Findings()
    training, validation = check((train, val), found, progress)
    records = training.split.images
    pictures = tuple(_picture(record) for record in records)
    text = "\n".join([_counts(training), _counts(validation), *(f"  {group.level.value}: {group}" for group in found)])
    if not any(len(p.boxes) for p in pictures):
        found.settle(strict=False, tell=lambda line: None)  # an error says why, as for other commands
        first = next((f": {group}" for group in found), "")
        raise DataError(f"the {len(train)} images of {train.name} hold no usable object; training needs some{first}")
    digest = hashlib.sha256()
    for record, picture in zip(records, pictures, strict=True):
        assert record.look is not None
        digest.update(record.look.digest.encode() + picture.boxes.tobytes())
        digest.update(b"".join(part.tobytes() for outline in picture.outlines for part in outline))
    return Survey(pictures, validation.split, digest.hexdigest(), found, text)


def splits(data: Dataset) -> tuple[Split, Split]:
    """The train and val splits, with what is listed but missing: :func:`survey` names it."""
    return listed_split(data, "train"), listed_split(data, "val")


def _picture(record: ImageRecord) -> Picture:
    """Boxes clipped to the image; crowds and boxes without area are left out."""
    height, width = record.size
    xyxy = record.xyxy.clip(0, np.array([width, height] * 2, np.float32))
    keep = ~record.iscrowd & (xyxy[:, 2:] > xyxy[:, :2]).all(1)
    rows = np.concatenate((record.class_id[:, None], xyxy), 1)[keep]
    fractions = np.array([width, height], np.float32)
    outlines = [tuple(part / fractions for part in outline) for outline in record.objects.outlines]
    kept = tuple(outline for outline, wanted in zip(outlines, keep, strict=False) if wanted)
    return Picture(record.path, rows.astype(np.float32), kept)


MOST_NAMED = 100
"""Classes that the summary counts one by one."""


def _counts(checked: Checked) -> str:
    """One line of what trains or is scored."""
    count: Counter[int] = Counter()
    for record in checked.split.images:
        count.update(record.class_id[~record.iscrowd].tolist())
    empty = sum(len(record.class_id) == 0 for record in checked.split.images)
    names = checked.split.names
    each = ", ".join(f"{short(name, 40)} {count[i]}" for i, name in enumerate(names[:MOST_NAMED]))
    each += f", and {len(names) - MOST_NAMED} classes more" if len(names) > MOST_NAMED else ""
    return f"{checked.split.name}: {checked.listed} images ({empty} without objects); {each}"
