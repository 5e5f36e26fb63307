"""Read a whole data set: its counts, and everything that a person must know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.data import Dataset, ImageRecord, Split, load_data
from edge_yolov9.data.checks.files import near
from edge_yolov9.data.findings import ALIKE, LISTING, Finding, Findings
from edge_yolov9.data.look import CountProgress, Look, look
from edge_yolov9.data.reader import listed_split, survey
from edge_yolov9.doctor import statistics
from edge_yolov9.doctor.statistics import Coverage, InputSize, Statistics
from edge_yolov9.errors import DataError


@dataclass(frozen=True)
class FindingEntry:
    """One kind of finding in one split, as JSON has it."""

    kind: str
    level: str
    split: str
    count: int
    remedy: str
    first: tuple[str, ...]
    """Where the first ones are, and what was found."""


@dataclass(frozen=True)
class Report:
    """What is in a data set, as JSON has it."""

    data: str
    names: tuple[str, ...]
    splits: tuple[Statistics, ...]
    findings: tuple[FindingEntry, ...]
    input_sizes: tuple[InputSize, ...]
    imgsz: int | None
    """The input size that is recommended; None without a box."""
    coverage: Coverage | None
    """What val shows and train does not; None without one of them."""


@dataclass(frozen=True)
class Examination:
    """A data set that was read."""

    report: Report
    findings: Findings
    records: Mapping[Path, ImageRecord]
    """Every image that can be used, by its path."""


def examine(data: Path, progress: CountProgress | None = None, look_once: Callable[[Path], Look] = look) -> Examination:
    """Read every split of a data set.

    Args:
        data: DATA file or folder.
        progress: is called with images done and images in all.
        look_once: looks at one file.

    Raises:
        DataError: it cannot be opened, or no split of it can be read.
    """
    dataset = load_data(data)
    names, failed = _readable(dataset)
    if not names:
        raise DataError(str(next(iter(failed.values()), f"{data} has no split; expected train and val")))
    reading = survey(dataset, names, progress, look_once)
    found = reading.findings
    for name, error in failed.items():
        found.add(Finding(LISTING, name, dataset.file, str(error)))
    for split in reading.splits.values():
        _alike(split, found)
    counted = {name: statistics.count(split, reading.listed[name]) for name, split in reading.splits.items()}
    rows, imgsz = statistics.input_sizes(list(reading.splits.values()))
    covered = statistics.coverage(counted["train"], counted["val"]) if {"train", "val"} <= counted.keys() else None
    entries = tuple(
        FindingEntry(
            group.kind, group.level.value, group.split, group.count, group.remedy, tuple(map(str, group.first))
        )
        for group in found
    )
    report = Report(str(data), dataset.names, tuple(counted.values()), entries, rows, imgsz, covered)
    records = {record.path: record for split in reading.splits.values() for record in split.images}
    return Examination(report, found, records)


def _readable(dataset: Dataset) -> tuple[list[str], dict[str, DataError]]:
    """The splits that can be listed, and why others cannot."""
    names, failed = [], {}
    for name, entry in dataset.splits.items():
        if entry in (None, "", []):
            continue
        try:
            listed_split(dataset, name)
        except DataError as error:
            failed[name] = error
        else:
            names.append(name)
    return names, failed


def _alike(split: Split, found: Findings) -> None:
    """Images of one split that look alike."""
    seen = [(record, record.look) for record in split.images if record.look]
    hashes = [one.hash for _, one in seen]
    for later, earlier in near(hashes, hashes, own=True):
        if seen[later][1].digest != seen[earlier][1].digest:
            detail = f"as {seen[earlier][0].path.name}"
            found.add(Finding(ALIKE, split.name, seen[later][0].path, detail=detail))
