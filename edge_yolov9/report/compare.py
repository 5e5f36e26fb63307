"""Two reports, of different boards, dates or versions: what changed, and what of it is more than noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_yolov9.errors import InputError
from edge_yolov9.report import cells
from edge_yolov9.report.document import MEASURED, Column, Document
from edge_yolov9.report.page import Block, Heading, Notice, Page, Table, Text
from edge_yolov9.scoring import noise
from edge_yolov9.scoring.accuracy import FIGURES

SIZES = ("bundle_mb", "files_mb", "packages")
"""What has no noise."""
MORE_IS_BETTER = ("accuracy", "fps")
VERDICTS = {True: "beyond noise", False: "within noise", None: "spread unknown"}


@dataclass(frozen=True)
class Change:
    """One figure in both reports. AP and AR are in points, 0 to 100."""

    section: str
    name: str
    first: float
    second: float
    first_error: float | None
    second_error: float | None
    difference_error: float | None
    """Standard error of ``second - first``; smaller than the two together where both are of the same images."""
    freedom: float | None
    """Degrees of freedom that ``difference_error`` comes from."""

    @property
    def difference(self) -> float:
        """``second - first``."""
        return self.second - self.first

    @property
    def beyond(self) -> bool | None:
        """Whether it is more than noise; None where that is unknown."""
        if self.difference_error is None or self.freedom is None:
            return None
        return noise.beyond(self.difference, (self.difference_error, self.freedom))

    @property
    def better(self) -> bool | None:
        """Whether the second is better; None where the difference is not beyond noise."""
        if not self.beyond:
            return None
        more = self.section in MORE_IS_BETTER or "fps" in self.name
        return (self.difference > 0) == more

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "difference": self.difference, "beyond_noise": self.beyond, "better": self.better}


def pairs(first: Document, second: Document) -> list[tuple[Column, Column]]:
    """Columns that belong together: of the same bundle, else of the same model, target, precision and size, else alone.

    Raises:
        InputError: none do.
    """

    def same(column: Column) -> str:
        return str(column["bundle"].get("sha256"))

    def alike(column: Column) -> tuple[str, ...]:
        return tuple(str(column["bundle"].get(key)) for key in ("variant", "target", "precision", "input_size"))

    left, right = list(first["columns"]), list(second["columns"])
    found = []
    for key in (same, alike):
        for one in list(left):
            other = next((column for column in right if key(column) == key(one)), None)
            if other is not None:
                found.append((one, other))
                left.remove(one)
                right.remove(other)
    if not found and len(left) == len(right) == 1:
        return [(left[0], right[0])]
    if not found:
        labels = [", ".join(column["label"] for column in columns) for columns in (left, right)]
        raise InputError(f"no bundle of the first report ({labels[0]}) is like one of the second ({labels[1]})")
    return found


def changes(first: Column, second: Column) -> list[Change]:
    """Every figure that both columns hold with a spread."""
    return [*_accuracy(first, second), *_measurements(first, second)]


def _accuracy(first: Column, second: Column) -> Iterator[Change]:
    if "accuracy" not in first or "accuracy" not in second:
        return
    one, other = first["accuracy"], second["accuracy"]
    paired = same_data(first, second)
    for name in FIGURES:
        errors = (one["standard_error"][name], other["standard_error"][name])
        samples = (one["replicates"][name], other["replicates"][name])
        yield from _points(name, one[name], other[name], errors, samples, paired)
    classes = {entry["name"]: entry for entry in other["classes"]}
    for entry in one["classes"]:
        twin = classes.get(entry["name"])
        if twin is not None:
            errors = (entry["standard_error"], twin["standard_error"])
            samples = (entry["replicates"], twin["replicates"])
            yield from _points(f"AP of {entry['name']}", entry["AP"], twin["AP"], errors, samples, paired)


Errors = tuple["float | None", "float | None"]


def _points(
    name: str, one: float | None, other: float | None, errors: Errors, samples: tuple[Any, Any], paired: bool
) -> Iterator[Change]:
    """``samples``: the replicates of both."""
    if one is None or other is None:
        return
    known = None
    if paired:
        same = noise.paired(*samples)
        known = None if same is None else (same, len(samples[0]) - 1.0)
    elif errors[0] is not None and errors[1] is not None:
        known = noise.together((errors[0], len(samples[0]) - 1.0), (errors[1], len(samples[1]) - 1.0))
    error, freedom = known or (None, None)
    first, second, both = (None if value is None else 100 * value for value in (*errors, error))
    yield Change("accuracy", name, 100 * one, 100 * other, first, second, both, freedom)


def _measurements(first: Column, second: Column) -> Iterator[Change]:
    for section in MEASURED:
        others = dict(cells.leaves(second.get(section, {})))
        for path, value in cells.leaves(first.get(section, {})):
            other = others.get(path)
            if path[0] in SIZES and isinstance(value, int | float) and isinstance(other, int | float):
                yield Change(section, cells.title(path), value, other, 0.0, 0.0, 0.0, 1.0)
            elif other is not None and _measured(value) and _measured(other):
                yield _measurement(section, cells.title(path), value, other)


def _measurement(section: str, name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Change:
    first, second = cells.error(one), cells.error(other)
    known: tuple[float | None, float | None] = (None, None)
    if first is not None and second is not None:
        known = noise.together((first, cells.freedom(one)), (second, cells.freedom(other)))
    return Change(section, name, cells.centre(one), cells.centre(other), first, second, *known)


def _measured(value: Any) -> bool:
    return cells.is_many(value) or cells.is_few(value)


def same_data(first: Column, second: Column) -> bool:
    """Whether AP of both is of the same pictures and the same truth."""
    one, other = (column["accuracy"]["data"] for column in (first, second))
    return all(one[key] == other[key] for key in ("images_sha256", "truth_sha256"))


def page(names: tuple[str, str], compared: Sequence[tuple[Column, Column, list[Change]]]) -> Page:
    """The page of a comparison of two files."""
    blocks: list[Block] = [
        Heading("edge-yolov9 report: comparison", 1),
        Text(
            f"First: {names[0]}. Second: {names[1]}. ± is one standard error. A difference outside its 95 % "
            "interval is beyond noise. Latencies are medians in ms, AP and AR in points."
        ),
    ]
    for first, second, found in compared:
        blocks.append(Heading(f"{first['label']} ({first['created']}) and {second['label']} ({second['created']})"))
        notes = _mind(first, second)
        if notes:
            blocks.append(Notice("Mind", tuple(notes)))
        blocks.append(Table(("", "first", "second", "difference", "", "verdict"), tuple(_row(one) for one in found)))
        if not found:
            blocks.append(Text("There is no figure that both of them hold."))
        facts = _facts(first, second)
        if facts:
            blocks += [Heading("What differs between the machines and bundles", 3)]
            blocks.append(Table(("", "first", "second"), tuple(facts)))
    return blocks


def _mind(first: Column, second: Column) -> list[str]:
    found = [f"{name}: {text}" for name, c in (("first", first), ("second", second)) for text in c["warnings"]]
    for name, entry in (("first", first), ("second", second)):
        found += [f"{name} is partial: {what}: {why}" for what, why in entry["missing"].items()]
    if "accuracy" in first and "accuracy" in second and not same_data(first, second):
        found.append("accuracy is of different pictures or labels: its differences say nothing about the bundles")
    return found


def _row(one: Change) -> tuple[str, ...]:
    digits = 2 if one.section == "accuracy" else None
    relative = f"{100 * one.difference / one.first:+.1f} %" if one.section != "accuracy" and one.first else ""
    better = {True: ", better", False: ", worse", None: ""}[one.better]
    return (
        one.name if one.section == "accuracy" else f"{one.section}: {one.name}",
        cells.spread(one.first, one.first_error or None, digits),
        cells.spread(one.second, one.second_error or None, digits),
        f"{'+' if one.difference >= 0 else ''}{cells.spread(one.difference, one.difference_error or None, digits)}",
        relative,
        VERDICTS[one.beyond] + better,
    )


def _facts(first: Column, second: Column) -> list[tuple[str, str, str]]:
    def plain(entry: Column) -> Mapping[tuple[str, ...], str]:
        parts = {"machine": entry.get("machine", {}), "bundle": {**entry["bundle"], "accuracy": None}}
        return {path: cells.text(value) for path, value in cells.leaves(parts)}

    one, other = plain(first), plain(second)
    keys = dict.fromkeys((*one, *other))
    return [
        (cells.title(key), one.get(key, "-"), other.get(key, "-")) for key in keys if one.get(key) != other.get(key)
    ]
