"""Two reports, of different boards, dates or versions: what changed, and what of it is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_yolov9.bench.spread import Measurement
from edge_yolov9.errors import InputError
from edge_yolov9.report import cells
from edge_yolov9.report.accuracy import Values
from edge_yolov9.report.document import Column, Document
from edge_yolov9.report.page import Block, Heading, Notice, Page, Table, Text
from edge_yolov9.scoring import noise
from edge_yolov9.scoring.accuracy import FIGURES

SIZES = ("bundle_mb", "files_mb", "packages")
"""Figures of the footprint that have no noise: they are counted."""
MORE_IS_BETTER = ("accuracy", "fps")
VERDICTS = {True: "beyond noise", False: "within noise", None: "spread unknown"}


@dataclass(frozen=True)
class Change:
    """One figure in both reports, made by :func:`change`. AP and AR are in points, 0 to 100."""

    section: str
    name: str
    first: float
    second: float
    first_error: float | None
    """Standard error of ``first``."""
    second_error: float | None
    """Standard error of ``second``."""
    difference_error: float | None
    """Standard error of ``second - first``; smaller than the two together where both are of the same images."""
    freedom: float | None
    """Degrees of freedom that ``difference_error`` comes from."""
    difference: float
    """``second - first``."""
    beyond_noise: bool | None
    """Whether the difference is more than noise; None where that is unknown."""
    better: bool | None
    """Whether the second is better; None where the difference is not beyond noise."""


Errors = tuple[float | None, float | None]
Known = tuple[float, float] | None
"""Standard error of a difference and its degrees of freedom; None where the spread is unknown."""


def change(section: str, name: str, values: tuple[float, float], errors: Errors, known: Known) -> Change:
    """The change from the first of ``values`` to the second, judged."""
    first, second = values
    error, freedom = known or (None, None)
    difference = second - first
    beyond = noise.beyond(difference, known)
    better = (difference > 0) == (section in MORE_IS_BETTER or "fps" in name) if beyond else None
    return Change(section, name, first, second, *errors, error, freedom, difference, beyond, better)


@dataclass(frozen=True)
class Pair:
    """Two columns that belong together, and what changed between them."""

    first: Column
    second: Column
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class PairEntry:
    """A pair in ``comparison.json``: labels and changes."""

    first: str
    second: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class ComparisonEntry:
    """``comparison.json``: the names of both files, and their pairs."""

    first: str
    second: str
    pairs: tuple[PairEntry, ...]


def compare(first: Document, second: Document) -> list[Pair]:
    """What changed from one report to another.

    Raises:
        InputError: no column of the first belongs to one of the second.
    """
    return [
        Pair(before, after, tuple(changes(before, after))) for before, after in partners(first.columns, second.columns)
    ]


def entry(names: tuple[str, str], pairs: Sequence[Pair]) -> ComparisonEntry:
    """The comparison of two files for JSON."""
    return ComparisonEntry(*names, tuple(PairEntry(p.first.label, p.second.label, p.changes) for p in pairs))


def partners(first: Sequence[Column], second: Sequence[Column]) -> list[tuple[Column, Column]]:
    """Columns that belong together: of the same bundle, else of the same model, target, precision and size, else alone.

    Raises:
        InputError: none do.
    """

    def same(column: Column) -> tuple[object, ...]:
        return (column.bundle.sha256,)

    def alike(column: Column) -> tuple[object, ...]:
        about = column.bundle
        return about.variant, about.target, about.precision, about.input_size

    left, right = list(first), list(second)
    matched = []
    for key in (same, alike):
        for column in list(left):
            other = next((candidate for candidate in right if key(candidate) == key(column)), None)
            if other is not None:
                matched.append((column, other))
                left = [candidate for candidate in left if candidate is not column]
                right = [candidate for candidate in right if candidate is not other]
    if not matched and len(left) == len(right) == 1:
        return [(left[0], right[0])]
    if not matched:
        labels = [", ".join(column.label for column in columns) for columns in (left, right)]
        raise InputError(f"no bundle of the first report ({labels[0]}) is like one of the second ({labels[1]})")
    return matched


def changes(first: Column, second: Column) -> list[Change]:
    """Every figure that both columns hold with a spread."""
    return [*_accuracy(first, second), *_measurements(first, second)]


def _accuracy(first: Column, second: Column) -> Iterator[Change]:
    before, after = first.accuracy, second.accuracy
    if before is None or after is None:
        return
    paired = same_data(first, second)
    values, others = before.by_name(), after.by_name()
    errors, other_errors = before.standard_error.by_name(), after.standard_error.by_name()
    for name in FIGURES:
        samples = (before.replicates.get(name, ()), after.replicates.get(name, ()))
        yield from _points(name, (values[name], others[name]), (errors[name], other_errors[name]), samples, paired)
    classes = {twin.name: twin for twin in after.classes}
    for own in before.classes:
        twin = classes.get(own.name)
        if twin is not None:
            samples = (own.replicates, twin.replicates)
            yield from _points(
                f"AP of {own.name}", (own.AP, twin.AP), (own.standard_error, twin.standard_error), samples, paired
            )


def _points(
    name: str, values: Errors, errors: Errors, replicates: tuple[Values, Values], paired: bool
) -> Iterator[Change]:
    """The change of an AP or AR, in points; nothing where one of them is unknown."""
    if values[0] is None or values[1] is None:
        return
    first, second = replicates
    known: Known = None
    if paired:
        same = noise.paired(first, second)
        known = None if same is None else (same, len(first) - 1.0)
    elif errors[0] is not None and errors[1] is not None and min(len(first), len(second)) > 1:
        known = noise.together((errors[0], len(first) - 1.0), (errors[1], len(second) - 1.0))
    points = (100 * values[0], 100 * values[1])
    spread = (None if errors[0] is None else 100 * errors[0], None if errors[1] is None else 100 * errors[1])
    yield change("accuracy", name, points, spread, None if known is None else (100 * known[0], known[1]))


def _measurements(first: Column, second: Column) -> Iterator[Change]:
    others = second.measured()
    for section, own in first.measured().items():
        twins = dict(cells.leaves(others.get(section)))
        for path, value in cells.leaves(own):
            twin = twins.get(path)
            if path[0] in SIZES and isinstance(value, int | float) and isinstance(twin, int | float):
                yield change(section, cells.title(path), (value, twin), (0.0, 0.0), (0.0, 1.0))
            elif isinstance(value, Measurement) and isinstance(twin, Measurement):
                yield compare_measurements(section, cells.title(path), value, twin)


def compare_measurements(section: str, name: str, before: Measurement, after: Measurement) -> Change:
    """The change of a figure that has its spread with it."""
    known = None
    if before.error is not None and after.error is not None:
        known = noise.together((abs(before.error), before.freedom), (abs(after.error), after.freedom))
    return change(section, name, (before.centre, after.centre), (before.error, after.error), known)


def same_data(first: Column, second: Column) -> bool:
    """Whether AP of both is of the same pictures and the same truth; true where one has none."""
    before, after = first.accuracy, second.accuracy
    if before is None or after is None:
        return True
    digests = [(section.data.images_sha256, section.data.truth_sha256) for section in (before, after)]
    return digests[0] == digests[1]


def page(names: tuple[str, str], pairs: Sequence[Pair]) -> Page:
    """The page of a comparison of two files."""
    blocks: list[Block] = [
        Heading("edge-yolov9 report: comparison", 1),
        Text(
            f"First: {names[0]}. Second: {names[1]}. ± is one standard error. A difference outside its 95 % "
            "interval is beyond noise. Latencies are medians in ms, AP and AR in points."
        ),
    ]
    for pair in pairs:
        first, second = pair.first, pair.second
        blocks.append(Heading(f"{first.label} ({first.created}) and {second.label} ({second.created})"))
        notes = _mind(first, second)
        if notes:
            blocks.append(Notice("Mind", tuple(notes)))
        blocks.append(Table(("", "first", "second", "difference", "", "verdict"), tuple(map(_row, pair.changes))))
        if not pair.changes:
            blocks.append(Text("There is no figure that both of them hold."))
        facts = _facts(first, second)
        if facts:
            blocks += [Heading("What differs between the machines and bundles", 3)]
            blocks.append(Table(("", "first", "second"), tuple(facts)))
    return blocks


def _mind(first: Column, second: Column) -> list[str]:
    columns = (("first", first), ("second", second))
    notes = [f"{name}: {text}" for name, column in columns for text in column.warnings]
    notes += [f"{name} is partial: {what}: {why}" for name, c in columns for what, why in c.missing.items()]
    if not same_data(first, second):
        notes.append("accuracy is of different pictures or labels: its differences say nothing about the bundles")
    return notes


def _row(item: Change) -> tuple[str, ...]:
    digits = 2 if item.section == "accuracy" else None
    relative = f"{100 * item.difference / item.first:+.1f} %" if item.section != "accuracy" and item.first else ""
    better = {True: ", better", False: ", worse", None: ""}[item.better]
    return (
        item.name if item.section == "accuracy" else f"{item.section}: {item.name}",
        cells.spread(item.first, item.first_error or None, digits),
        cells.spread(item.second, item.second_error or None, digits),
        f"{'+' if item.difference >= 0 else ''}{cells.spread(item.difference, item.difference_error or None, digits)}",
        relative,
        VERDICTS[item.beyond_noise] + better,
    )


def _facts(first: Column, second: Column) -> list[tuple[str, str, str]]:
    def plain(column: Column) -> dict[cells.Path, str]:
        parts = {"machine": column.machine, "bundle": column.bundle}
        return {path: cells.text(value) for path, value in cells.leaves(parts)}

    before, after = plain(first), plain(second)
    keys = dict.fromkeys((*before, *after))
    return [
        (cells.title(key), before.get(key, "-"), after.get(key, "-"))
        for key in keys
        if before.get(key) != after.get(key)
    ]
