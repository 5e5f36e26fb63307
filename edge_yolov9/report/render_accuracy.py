"""The accuracy part of a report's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_yolov9.report import cells
from edge_yolov9.report.document import Column
from edge_yolov9.report.page import Block, Heading, Picture, Table, Text
from edge_yolov9.scoring import curves
from edge_yolov9.scoring.accuracy import FIGURES, Accuracy, ClassAccuracy

SIZES = ("small objects", "medium", "large")
MEANING = ("IoU .50:.95", "IoU .50", "IoU .75", *SIZES, "1 box an image", "10 boxes", "100 boxes", *SIZES)
WIDEST = 40
"""Classes up to which a confusion matrix is a table when it is not drawn."""


def accuracy(columns: Sequence[Column], pictures: Mapping[str, bytes], drawn: bool) -> list[Block]:
    """Tables of all columns side by side, then plots and worst images of each."""
    measured = [entry for entry in columns if "accuracy" in entry]
    if not measured:
        return []
    labels = tuple(entry["label"] for entry in measured)
    sections = [entry["accuracy"] for entry in measured]
    blocks: list[Block] = [Heading("Accuracy"), Text(_data(measured))]
    blocks.append(Table(("", *labels), tuple(_figure_row(name, sections) for name in FIGURES)))
    blocks.append(Text("In brackets: AP points against the float model before it was compiled."))
    blocks += [Text(text) for text in _notes(measured)]
    names = list(dict.fromkeys(one["name"] for section in sections for one in section["classes"]))
    rows = tuple(_class_row(name, sections) for name in names)
    blocks += [Heading("AP of each class", 3), Table(("class", "objects", *labels), rows)]
    for place, entry in enumerate(measured):
        blocks += _pictures(place, entry, pictures, drawn)
    return blocks


def _data(columns: Sequence[Column]) -> str:
    told = dict.fromkeys(
        f"{data['images']} images of {data['split']} in {data['file']} (pictures {data['images_sha256'][:12]}, "
        f"truth {data['truth_sha256'][:12]})"
        for data in (entry["accuracy"]["data"] for entry in columns)
    )
    text = f"Through the bundle's own runtime, on {'; '.join(told)}."
    return text if len(told) == 1 else f"{text} The columns are of different data: do not compare them."


def _figure_row(name: str, sections: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    row = [f"{name} ({MEANING[FIGURES.index(name)]})"]
    for section in sections:
        text = cells.spread(section[name], section["standard_error"][name], 4)
        row.append(text + _points(section["float"], name, section[name]))
    return tuple(row)


def _points(before: Mapping[str, Any] | None, name: str, value: float | None) -> str:
    if before is None or not before["comparable"] or value is None or before[name] is None:
        return ""
    return f" ({100 * (value - before[name]):+.2f})"


def _class_row(name: str, sections: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    row: list[str] = []
    objects = "-"
    for section in sections:
        one = next((entry for entry in section["classes"] if entry["name"] == name), None)
        if one is None:
            row.append("-")
            continue
        objects = str(one["objects"])
        before = section["float"]
        own = next((entry for entry in before["classes"] if entry["name"] == name), None) if before else None
        points = _points({**before, "AP": own["AP"]}, "AP", one["AP"]) if before and own else ""
        row.append(cells.spread(one["AP"], one["standard_error"], 4) + points)
    return (name, objects, *row)


def _notes(columns: Sequence[Column]) -> list[str]:
    found = []
    for entry in columns:
        before, label = entry["accuracy"]["float"], entry["label"]
        if before is None:
            found.append(f"{label}: the bundle has no float figures (it was compiled without --data).")
        elif not before["comparable"]:
            found.append(f"{label}: float AP {before['AP']:.4f}, but {before['note']}: not comparable with these.")
        for name, points in (before or {}).get("losing_classes", {}).items():
            found.append(f"{label}: {name} loses {points:.1f} AP points against float.")
    return found


def _pictures(place: int, entry: Column, pictures: Mapping[str, bytes], drawn: bool) -> list[Block]:
    section, label = entry["accuracy"], entry["label"]
    names = [one["name"] for one in section["classes"]]
    found: list[Block] = []
    if drawn:
        found += _plots(place, label, section, names)
    elif len(names) <= WIDEST:
        matrix = section["confusion"]["matrix"]
        rows = tuple((name, *map(str, row)) for name, row in zip([*names, "missed"], matrix, strict=True))
        found += [Heading(f"{label}: what is taken for what", 3), Text(_confusion(section))]
        found.append(Table(("found \\ true", *names, "nothing there"), rows))
    if section["worst"]:
        found.append(Heading(f"{label}: worst images", 3))
        alt = f"{label}: the worst images, what is there on the left, what was found on the right"
        found += [Picture(name, pictures[name], alt) for name in entry["worst_pictures"]]
        keys = ("image", "f1", "right", "missed", "wrong_class", "nothing_there")
        head = ("image", "F1", "right", "missed", "wrong class", "where nothing is")
        found.append(Table(head, tuple(tuple(cells.text(one[key]) for key in keys) for one in section["worst"])))
    return found


def _plots(place: int, label: str, section: Mapping[str, Any], names: list[str]) -> list[Block]:
    drawn = Accuracy(
        {name: section[name] for name in FIGURES},
        tuple(
            ClassAccuracy(c["name"], c["AP"], c["AP50"], c["objects"], tuple(c["curve"])) for c in section["classes"]
        ),
        section["images"],
    )
    matrix = np.array(section["confusion"]["matrix"], np.int64)
    alt = f"{label}: precision over recall at IoU .50"
    return [
        Picture(f"figures/precision-recall-{place}.png", curves.precision_recall(drawn), alt),
        Text(_confusion(section)),
        Picture(f"figures/confusion-{place}.png", curves.confusion_matrix(matrix, names), f"{label}: confusion matrix"),
    ]


def _confusion(section: Mapping[str, Any]) -> str:
    used = section["confusion"]["thresholds"]
    return (
        f"Confusion at the bundle's own thresholds (confidence {used['confidence']:g}, suppression at IoU "
        f"{used['iou']:g}); pairs overlap by at least {section['confusion']['iou']:g}."
    )
