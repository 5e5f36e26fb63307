"""The accuracy part of a report's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edge_yolov9.report import cells
from edge_yolov9.report.accuracy import AccuracySection, ClassSection
from edge_yolov9.report.document import Column
from edge_yolov9.report.page import Block, Heading, Picture, Table, Text
from edge_yolov9.scoring import curves
from edge_yolov9.scoring.accuracy import FIGURES

SIZES = ("small objects", "medium", "large")
MEANING = ("IoU .50:.95", "IoU .50", "IoU .75", *SIZES, "1 box an image", "10 boxes", "100 boxes", *SIZES)
WIDEST = 40
"""Classes up to which a confusion matrix is a table when it is not drawn."""


def accuracy(columns: Sequence[Column], pictures: Mapping[str, bytes], drawn: bool) -> list[Block]:
    """Tables of all columns side by side, then plots and worst images of each."""
    measured = [(column, column.accuracy) for column in columns if column.accuracy is not None]
    if not measured:
        return []
    labels = tuple(column.label for column, _ in measured)
    sections = [section for _, section in measured]
    blocks: list[Block] = [Heading("Accuracy"), Text(_data(sections))]
    blocks.append(Table(("", *labels), tuple(_figure_row(name, sections) for name in FIGURES)))
    blocks.append(Text("In brackets: AP points against the float model before it was compiled."))
    blocks += [Text(text) for column, section in measured for text in _notes(column.label, section)]
    rows = tuple(_class_rows(sections))
    blocks += [Heading("AP of each class", 3), Table(("class", "objects", *labels), rows)]
    for place, (column, section) in enumerate(measured):
        blocks += _plots(place, column.label, section) if drawn else _matrix(column.label, section)
        blocks += _worst(column, section, pictures)
    return blocks


def _data(sections: Sequence[AccuracySection]) -> str:
    sets = dict.fromkeys(
        f"{data.images} images of {data.split} in {data.file} (pictures {data.images_sha256[:12]}, "
        f"truth {data.truth_sha256[:12]})"
        for data in (section.data for section in sections)
    )
    text = f"Through the bundle's own runtime, on {'; '.join(sets)}."
    return text if len(sets) == 1 else f"{text} The columns are of different data: do not compare them."


def _figure_row(name: str, sections: Sequence[AccuracySection]) -> tuple[str, ...]:
    row = [f"{name} ({MEANING[FIGURES.index(name)]})"]
    for section in sections:
        value, error = section.by_name()[name], section.standard_error.by_name()[name]
        before = section.float.by_name()[name] if section.float and section.float.comparable else None
        row.append(cells.spread(value, error, 4) + _points(before, value))
    return tuple(row)


def _points(before: float | None, value: float | None) -> str:
    return "" if value is None or before is None else f" ({100 * (value - before):+.2f})"


def _class_rows(sections: Sequence[AccuracySection]) -> list[tuple[str, ...]]:
    """A row for each class that any section has."""
    classes = [{entry.name: entry for entry in reversed(section.classes)} for section in sections]
    before = [
        {entry.name: entry.AP for entry in reversed(section.float.classes)}
        if section.float and section.float.comparable
        else {}
        for section in sections
    ]
    rows = []
    for name in dict.fromkeys(entry.name for section in sections for entry in section.classes):
        own = [by_name.get(name) for by_name in classes]
        objects = [str(entry.objects) for entry in own if entry is not None][-1]
        figures = (_class_cell(entry, floats.get(name)) for entry, floats in zip(own, before, strict=True))
        rows.append((name, objects, *figures))
    return rows


def _class_cell(entry: ClassSection | None, before: float | None) -> str:
    if entry is None:
        return "-"
    return cells.spread(entry.AP, entry.standard_error, 4) + _points(before, entry.AP)


def _notes(label: str, section: AccuracySection) -> list[str]:
    before = section.float
    if before is None:
        return [f"{label}: the bundle has no float figures (it was compiled without --data)."]
    notes = []
    if not before.comparable:
        ap = cells.spread(before.AP, None, 4)
        notes.append(f"{label}: float AP {ap}, but {before.note}: not comparable with these.")
    losses = before.losing_classes.items()
    return notes + [f"{label}: {name} loses {points:.1f} AP points against float." for name, points in losses]


def _matrix(label: str, section: AccuracySection) -> list[Block]:
    """The confusion matrix as a table, where it cannot be drawn."""
    names = [entry.name for entry in section.classes]
    if len(names) > WIDEST:
        return []
    lines = zip([*names, "missed"], section.confusion.matrix, strict=True)
    return [
        Heading(f"{label}: what is taken for what", 3),
        Text(_confusion(section)),
        Table(("found \\ true", *names, "nothing there"), tuple((name, *map(str, row)) for name, row in lines)),
    ]


def _worst(column: Column, section: AccuracySection, pictures: Mapping[str, bytes]) -> list[Block]:
    if not section.worst:
        return []
    alt = f"{column.label}: the worst images, what is there on the left, what was found on the right"
    head = ("image", "F1", "right", "missed", "wrong class", "where nothing is")
    rows = (
        (m.image, *map(cells.text, (m.f1, m.right, m.missed, m.wrong_class, m.nothing_there))) for m in section.worst
    )
    sheets = [Picture(name, pictures[name], alt) for name in column.worst_pictures]
    return [Heading(f"{column.label}: worst images", 3), *sheets, Table(head, tuple(rows))]


def _plots(place: int, label: str, section: AccuracySection) -> list[Block]:
    names = [entry.name for entry in section.classes]
    blocks: list[Block] = []
    if any(entry.curve for entry in section.classes):
        curve = curves.precision_recall(section.as_accuracy())
        alt = f"{label}: precision over recall at IoU .50"
        blocks.append(Picture(f"figures/precision-recall-{place}.png", curve, alt))
    matrix = curves.confusion_matrix(section.matrix(), names)
    alt = f"{label}: confusion matrix"
    return [*blocks, Text(_confusion(section)), Picture(f"figures/confusion-{place}.png", matrix, alt)]


def _confusion(section: AccuracySection) -> str:
    used = section.confusion.thresholds
    return (
        f"Confusion at the bundle's own thresholds (confidence {used.confidence:g}, suppression at IoU "
        f"{used.iou:g}); pairs overlap by at least {section.confusion.iou:g}."
    )
