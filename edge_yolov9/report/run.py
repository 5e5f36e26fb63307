"""One report: measure every bundle on this machine, or take up what was measured elsewhere."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import Bundle, sha256
from edge_yolov9.errors import DataError, EdgeYoloError, InferenceError, InputError
from edge_yolov9.report import document, evaluation
from edge_yolov9.report import predictions as images
from edge_yolov9.report.document import MEASURED, Column, Document
from edge_yolov9.report.predictions import Found, ImageSet

FRAMES = 32
"""Images of the data set that latency is measured on."""
LATER = "not scored yet: edge-yolov9 report --score detections.json --data DATA -o FOLDER finishes elsewhere"
SHEET = re.compile(r"figures/worst-\d+-\d+\.jpg")

Tell = Callable[[str], None]


@dataclass
class Run:
    """Columns as they fill, and the contact sheets of each by its place."""

    columns: list[Column] = field(default_factory=list)
    sheets: dict[int, list[bytes]] = field(default_factory=dict)

    def finish(self, command: str) -> tuple[Document, dict[str, bytes]]:
        """The document, and its contact sheets by the names that it gives them."""
        pictures: dict[str, bytes] = {}
        for place, (entry, label) in enumerate(zip(self.columns, document.distinct(self.columns), strict=True)):
            named = {f"figures/worst-{place}-{i}.jpg": data for i, data in enumerate(self.sheets.get(place, ()))}
            entry |= {"label": label, "worst_pictures": list(named)}
            pictures |= named
        return document.make(self.columns, command), pictures


def image_set(data: Path | None, split: str, detections_only: bool) -> ImageSet | None:
    """The images that a report asks for; None without ``data``.

    Raises:
        InputError: there is no evaluator here and one is needed.
        DataError: see :func:`images.labelled` and :func:`images.unlabelled`.
    """
    if data is None:
        if detections_only:
            raise InputError("--detections-only needs --data: a DATA file, or a folder of images")
        return None
    if detections_only:
        return images.unlabelled(data, split)
    if importlib.util.find_spec("pycocotools") is None:
        raise InputError(
            "AP needs pycocotools, which is not installed here; add --detections-only and score elsewhere with "
            'edge-yolov9 report --score, or run: pip install "edge-yolov9[val]"'
        )
    return images.labelled(data, split)


def measure(paths: Sequence[Path], found: ImageSet | None, detections_only: bool, seconds: float, tell: Tell) -> Run:
    """Columns of bundles (folders), measured here, and of reports (files), as they are.

    Raises:
        EdgeYoloError: an input cannot be used, or nothing at all can be measured.
    """
    run = Run()
    opened = {place: bundles.read(path) for place, path in enumerate(paths) if path.is_dir()}
    named = dict(zip(opened, document.labels(list(opened.values())), strict=True))
    for one in opened.values():
        if found is not None:
            found.check(one.manifest.names)
    waiting: list[tuple[int, Bundle]] = []
    for place, path in enumerate(paths):
        if place in opened:
            run.columns.append(document.column(opened[place], named[place]))
            waiting.append((len(run.columns) - 1, opened[place]))
        else:
            add_report(run, path)
    ready = [(place, one) for place, one in waiting if _runs_here(run.columns[place], one)]
    for place, one in ready:
        _measure(run.columns[place], one, found, seconds, tell)
    for place, one in ready:
        _detect(run, place, one, found, detections_only, tell)
    asked = [run.columns[place] for place, _ in waiting]
    if asked and not any(part in entry for entry in asked for part in (*document.SECTIONS, "detections")):
        raise InferenceError("; ".join(dict.fromkeys(why for entry in asked for why in entry["missing"].values())))
    return run


def add_report(run: Run, path: Path) -> None:
    """Take up the columns of a ``report.json`` or ``detections.json``, and the contact sheets beside it.

    Raises:
        InputError: see :func:`document.read`.
    """
    for entry in document.read(path)["columns"]:
        named = entry.get("worst_pictures")
        for name in named if isinstance(named, list) else ():
            if SHEET.fullmatch(str(name)):
                with suppress(OSError):
                    run.sheets.setdefault(len(run.columns), []).append((path.parent / name).read_bytes())
        run.columns.append(entry)


def score(path: Path, found: ImageSet, tell: Tell) -> Run:
    """Finish a ``detections.json`` where the labelled images and an evaluator are.

    Raises:
        InputError: it holds no detections, or is malformed.
        DataError: the classes or the images are not those of the detections.
    """
    run = Run()
    add_report(run, path)
    waiting = {place: entry for place, entry in enumerate(run.columns) if "detections" in entry}
    if not waiting:
        raise InputError(f"{path} holds no detections to score; make it with edge-yolov9 report --detections-only")
    for place, entry in waiting.items():
        tell(f"{entry['label']}: score")
        try:
            names = tuple(str(name) for name in entry["bundle"]["names"])
            boxes = Found.from_dict(entry.pop("detections")["images"], names)
            _same_pictures(boxes, found)
            _accuracy(run, place, boxes, found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise document.malformed(path, error) from None
    return run


def _runs_here(entry: Column, opened: Bundle) -> bool:
    try:
        document.check_runtime(opened)
    except EdgeYoloError as error:
        entry["missing"]["everything"] = str(error)
        return False
    return True


def _measure(entry: Column, opened: Bundle, found: ImageSet | None, seconds: float, tell: Tell) -> None:
    from edge_yolov9.bench import caveats
    from edge_yolov9.bench import suite as bench

    pictures = () if found is None else found.paths[:: max(1, len(found.paths) // FRAMES)][:FRAMES]
    try:
        measured: dict[str, Any] = bench.measure(
            opened.path, seconds=seconds, images=pictures, progress=lambda text: tell(f"{entry['label']}: {text}")
        )
    except EdgeYoloError as error:
        entry["missing"]["latency, power, heat, footprint"] = str(error)
        return
    entry.update({part: measured[part] for part in MEASURED if part in measured})
    entry["warnings"] += measured["warnings"]
    entry["missing"] |= caveats.unread(measured)


def _detect(run: Run, place: int, opened: Bundle, found: ImageSet | None, detections_only: bool, tell: Tell) -> None:
    entry = run.columns[place]
    if found is None:
        entry["missing"]["accuracy"] = "no --data was given"
        return
    try:
        boxes = images.detect(
            opened, found, lambda done, total: tell(f"{entry['label']}: {done} of {total} images of {found.source}")
        )
        if detections_only:
            entry["missing"]["accuracy"] = LATER
            entry["detections"] = {"data": found.source, "split": found.split, "images": boxes.as_dict()}
        else:
            _accuracy(run, place, boxes, found)
    except EdgeYoloError as error:
        entry["missing"]["accuracy"] = str(error)


def _accuracy(run: Run, place: int, boxes: Found, found: ImageSet) -> None:
    entry = run.columns[place]
    entry["accuracy"], run.sheets[place] = evaluation.section(boxes, found, entry["bundle"])
    entry["missing"].pop("accuracy", None)


def _same_pictures(boxes: Found, found: ImageSet) -> None:
    for key, path in zip(found.keys, found.paths, strict=True):
        if key in boxes.digests and sha256(path) != boxes.digests[key]:
            raise DataError(f"{path} is not the picture that the detections are of (sha256 differs); copy it again")
