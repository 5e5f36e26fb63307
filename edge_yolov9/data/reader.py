"""The one way in which every command reads a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.data.checks.check import Checked, check, fault
from edge_yolov9.data.dataset import Dataset, load_data
from edge_yolov9.data.findings import REPEATED, SAME, Finding, Findings, Tell
from edge_yolov9.data.look import CountProgress, Look, look, look_at
from edge_yolov9.data.places import Spelling
from edge_yolov9.data.reading import is_file
from edge_yolov9.data.records import Split
from edge_yolov9.errors import DataError


@dataclass(frozen=True)
class Reading:
    """A data set as every command sees it."""

    dataset: Dataset
    splits: Mapping[str, Split]
    """The images that can be used, by the name of the split."""
    listed: Mapping[str, int]
    """How many images each split lists."""
    findings: Findings


def read_data(
    data: str | Path | Dataset,
    splits: Sequence[str],
    *,
    strict: bool = False,
    tell: Tell = lambda line: None,
    progress: CountProgress | None = None,
) -> Reading:
    """Read some splits of a DATA file, each file once, and say what a person must know.

    Args:
        data: the DATA file, or what :func:`load_data` made of it.
        splits: their names.
        strict: whether warnings are errors.
        tell: takes each warning as a line.
        progress: is called with images done and images in all.

    Raises:
        DataError: nothing right can be done with the data; with ``strict`` also where there is a warning.
    """
    dataset = data if isinstance(data, Dataset) else load_data(data)
    reading = survey(dataset, splits, progress)
    reading.findings.settle(strict, tell)
    for name, split in reading.splits.items():
        if not split.images:
            first = next(iter(reading.findings), None)
            raise DataError(f"no image of {name} can be used: {first}" if first else f"{name} holds no image")
    return reading


def survey(
    dataset: Dataset,
    splits: Sequence[str],
    progress: CountProgress | None = None,
    look_once: Callable[[Path], Look] = look,
) -> Reading:
    """:func:`read_data` without a verdict: whatever can be read, and every finding; ``look_once`` looks at one file.

    Raises:
        DataError: a split is not there, or cannot be listed.
    """
    found = Findings()
    all_splits = [listed_split(dataset, name) for name in splits]
    checked: list[Checked] = check(all_splits, found, progress, look_once)
    return Reading(
        dataset,
        {one.split.name: one.split for one in checked},
        {one.split.name: one.listed for one in checked},
        found,
    )


def listed_split(dataset: Dataset, name: str) -> Split:
    """A split with images that are missing, which the check leaves out.

    Raises:
        DataError: it is not there, cannot be listed, or every image is missing.
    """
    split = dataset.split(name, missing_ok=True)
    if not any(is_file(record.path) for record in split.images):
        return dataset.split(name)  # says which is missing, and where it might be
    return split


def usable_images(
    paths: Sequence[Path], what: str, *, once: bool = False, strict: bool = False, tell: Tell = lambda line: None
) -> list[tuple[Path, Look]]:
    """The images of a list that decode, with what was seen of each.

    Args:
        paths: the files.
        what: what they are, for messages.
        once: whether copies of an image are left out.
        strict: whether warnings are errors.
        tell: takes each warning as a line.

    Raises:
        DataError: none can be used, or one cannot be read rightly; with ``strict`` also where one is left out.
    """
    found = Findings()
    kept, seen = [], dict[str, Path]()
    spelling, named = Spelling(), set[tuple[str, str]]()
    for path, seen_as in zip(paths, look_at(paths), strict=True):
        if seen_as.fault:
            found.add(fault(path, seen_as, what))
        elif (name := spelling(path)) in named:
            found.add(Finding(REPEATED, what, path))
        elif once and (first := seen.setdefault(seen_as.digest, path)) != path:
            found.add(Finding(SAME, what, path, detail=f"as {first.name}", remedy="it counts once"))
        else:
            named.add(name)
            kept.append((path, seen_as))
    found.settle(strict, tell)
    if not kept:
        raise DataError(f"no image can be used: {next(iter(found))}")
    return kept
