"""Files of a data set that belong together, or should not: labels without images, copies, films that splits share."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data import findings
from edge_yolov9.data.findings import Finding, Findings
from edge_yolov9.data.places import Spelling, expected_label
from edge_yolov9.data.records import ImageRecord, Split
from edge_yolov9.images import IMAGE_SUFFIXES
from edge_yolov9.text import brief

NO_LABELS = frozenset(
    ("classes", "labels", "obj.names", "readme", "readme.dataset", "readme.roboflow", "notes", "train", "val", "test")
)
"""Stems of text files that programs write beside label files."""
NEAR_BITS = 4
"""Bits in which the 64-bit hashes of two images of one scene differ, at most."""
LEAST_BITS = 12
"""Bits of a hash that are set, and that are not, at least: an empty picture is like any other."""
PARTS = (0, 13, 26, 39, 52, 64)
"""Where the parts of a hash begin, one more than ``NEAR_BITS``; and its end."""
MOST_ALIKE = 1000
"""Images with an equal part that one is compared with, at most."""


def listed_once(split: str, records: Sequence[ImageRecord], found: Findings) -> list[ImageRecord]:
    """The images, each file once: a list may spell one in two ways. A COCO file that has two entries for one is
    malformed."""
    seen: dict[tuple[str, str], ImageRecord] = {}
    spelling = Spelling()
    for record in records:
        first = seen.setdefault(spelling(record.path), record)
        if first is record:
            continue
        if record.annotated is None:
            found.add(Finding(findings.REPEATED, split, record.path))
        else:
            detail = f"image ids {first.image_id} and {record.image_id} are one file; give it one entry"
            found.add(Finding(findings.MALFORMED, split, record.path, detail=detail))
    return list(seen.values())


def labels(split: str, records: Sequence[ImageRecord], found: Findings) -> None:
    """YOLO label files that are missing, left over, or shared by two images."""
    other = any(record.annotated is not None for record in records)  # of COCO, VOC or CVAT
    used: dict[Path, ImageRecord] = {}
    for record in records:
        if record.annotated is not None:
            continue
        if record.labels is None:
            empty = f"it counts as one without objects; an empty file {brief(expected_label(record.path))} would say so"
            found.add(Finding(findings.UNLABELLED, split, record.path, remedy="" if other else empty))
        elif (first := used.setdefault(record.labels, record)) is not record and first.path != record.path:
            both = f"{first.path.name}, {record.path.name}"
            found.add(Finding(findings.SHARED, split, record.path, brief(record.labels), both))
    for file, remedy in () if other else _left_over(records, used):
        found.add(Finding(findings.ORPHAN, split, file, remedy=remedy))


def _left_over(records: Sequence[ImageRecord], used: dict[Path, ImageRecord]) -> Iterator[tuple[Path, str]]:
    """Text files in the folders of labels that no image has, and what to do."""
    folders: dict[Path, Path] = {}
    for record in records:
        folders.setdefault(expected_label(record.path).parent, record.path.parent)
    for folder, pictures in folders.items():
        stems = {
            name.rpartition(".")[0]
            for name in _names(pictures)
            if f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES
        }
        folded = {stem.casefold(): stem for stem in stems}
        for name in sorted(_names(folder)):
            stem, dot, suffix = name.rpartition(".")
            if not dot or suffix.lower() != "txt" or name.startswith("."):
                continue
            if (suffix == "txt" and stem in stems) or folder / name in used or stem.casefold() in NO_LABELS:
                continue
            right = _meant(stem, stems, folded)
            yield folder / name, f"nothing reads it; its name would be {brief(right)}.txt" if right else ""


def _meant(stem: str, stems: set[str], folded: dict[str, str]) -> str:
    """The image that a label file is for by another spelling; empty without one."""
    bare, _, suffix = stem.rpartition(".")
    if f".{suffix.lower()}" in IMAGE_SUFFIXES and bare in stems:
        return bare
    return folded.get(stem.casefold(), "")


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder) if not entry.is_dir()]
    except OSError:
        return []


def across(splits: Sequence[Split], found: Findings) -> None:
    """Images that are there twice in a split, or in two, as copies or nearly."""
    looks = [[(record, record.look) for record in split.images if record.look] for split in splits]
    for split, own in zip(splits, looks, strict=True):
        seen: dict[str, ImageRecord] = {}
        for record, look in own:
            if (first := seen.setdefault(look.digest, record)) is not record:
                found.add(Finding(findings.SAME, split.name, record.path, detail=f"as {first.path.name}"))
    if len(splits) < 2:
        return
    digests = {look.digest: record for record, look in looks[1]}
    fresh = []
    for record, look in looks[0]:
        if look.digest in digests:
            found.add(Finding(findings.TWIN, splits[0].name, record.path))
        else:
            fresh.append((record, look.hash))
    others = [(record, look.hash) for record, look in looks[1]]
    for one, other in near([h for _, h in fresh], [h for _, h in others]):
        detail = f"as {others[other][0].path.name}"
        found.add(Finding(findings.NEAR, splits[0].name, fresh[one][0].path, detail=detail))


def near(hashes: Sequence[int], others: Sequence[int], own: bool = False) -> Iterator[tuple[int, int]]:
    """Pairs (index in ``hashes``, index in ``others``) whose 64 bits differ in ``NEAR_BITS`` at most; one pair for each
    of ``hashes``; with ``own`` both are the same images, and the second of a pair comes first.

    Two that differ in so few bits share one of ``PARTS`` parts of them.
    """
    a, b = np.array(hashes, np.uint64), np.array(others, np.uint64)
    telling = _telling(b)
    matched = ~_telling(a)
    result: dict[int, int] = {}
    for first, last in pairwise(PARTS):
        shift, mask = np.uint64(first), np.uint64((1 << (last - first)) - 1)
        buckets: dict[int, list[int]] = defaultdict(list)
        for index in np.flatnonzero(telling):
            buckets[int(b[index] >> shift & mask)].append(int(index))
        for index in np.flatnonzero(~matched):
            candidates = buckets.get(int(a[index] >> shift & mask), [])
            end = bisect_left(candidates, int(index)) if own else len(candidates)
            candidates = candidates[max(0, end - MOST_ALIKE) : end]
            if candidates:
                distance = _bits(a[index] ^ b[candidates])
                best = int(distance.argmin())
                if distance[best] <= NEAR_BITS:
                    result[int(index)] = candidates[best]
                    matched[index] = True
    yield from sorted(result.items())


def _telling(hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    bits = _bits(hashes)
    result: NDArray[np.bool_] = (bits >= LEAST_BITS) & (bits <= 64 - LEAST_BITS)
    return result


def _bits(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits that are set in each."""
    table = np.unpackbits(np.ascontiguousarray(words).view(np.uint8).reshape(-1, 8), axis=1)
    return np.asarray(table.sum(axis=1), np.int64)
