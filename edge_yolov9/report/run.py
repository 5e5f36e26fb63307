"""One report: measure every bundle on this machine, or take up what was measured elsewhere."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench.child import TextProgress
from edge_yolov9.bundle import Bundle, sha256
from edge_yolov9.data.findings import Tell
from edge_yolov9.data.look import CountProgress
from edge_yolov9.errors import DataError, EdgeYoloError, InferenceError, InputError
from edge_yolov9.report import document, evaluation, predictions
from edge_yolov9.report.document import Column, Document
from edge_yolov9.report.predictions import ImageSet, Predictions

FRAMES = 32
"""Images of the data set that latency is measured on."""
LATER = "not scored yet: edge-yolov9 report score detections.json --data DATA -o FOLDER finishes elsewhere"
SHEET = re.compile(r"figures/worst-\d+-\d+\.jpg")
MOST_SHEET_BYTES = 2**24
JPEG = b"\xff\xd8"


@dataclass
class Run:
    """Columns as they fill, and the contact sheets of each by its place."""

    columns: list[Column] = field(default_factory=list)
    sheets: dict[int, list[bytes]] = field(default_factory=dict)

    def finish(self, command: str) -> tuple[Document, dict[str, bytes]]:
        """The document, and its contact sheets by the names that it gives them."""
        pictures: dict[str, bytes] = {}
        for place, (column, label) in enumerate(zip(self.columns, document.distinct(self.columns), strict=True)):
            named = {f"figures/worst-{place}-{i}.jpg": data for i, data in enumerate(self.sheets.get(place, ()))}
            column.label, column.worst_pictures = label, tuple(named)
            pictures |= named
        return document.make(self.columns, command), pictures


def image_set(
    data: Path | None,
    split: str,
    detections_only: bool,
    strict: bool = False,
    tell: Tell = lambda line: None,
    looking: CountProgress | None = None,
) -> ImageSet | None:
    """The images that a report asks for; None without ``data``. The last three are as for :func:`read_data`.

    Raises:
        InputError: there is no evaluator here and one is needed.
        DataError: see :func:`predictions.labelled` and :func:`predictions.unlabelled`.
    """
    if data is None:
        if detections_only:
            raise InputError("--detections-only needs --data: a DATA file, or a folder of images")
        return None
    if detections_only:
        return predictions.unlabelled(data, split, strict, tell)
    if importlib.util.find_spec("pycocotools") is None:
        raise InputError(
            "AP needs pycocotools, which is not installed here; add --detections-only and score elsewhere with "
            'edge-yolov9 report score, or run: pip install "edge-yolov9[val]"'
        )
    return predictions.labelled(data, split, strict, tell, looking)


def measure_inputs(
    paths: Sequence[Path],
    images: ImageSet | None,
    detections_only: bool,
    seconds: float,
    progress: TextProgress,
    key: str | None = None,
) -> Run:
    """Columns of bundles (folders), measured here, and of reports (files), as they are.

    Args:
        paths: bundles and reports.
        images: what the bundles are scored on; None where they are not.
        detections_only: keep detections for ``report score`` in place of scoring them.
        seconds: length of each sustained run.
        progress: is called with what is being done.
        key: public key that must have signed the bundles; None for any.

    Raises:
        EdgeYoloError: an input cannot be used, or nothing at all can be measured.
    """
    run = Run()
    opened = {place: bundles.read(path, key=key) for place, path in enumerate(paths) if path.is_dir()}
    named = dict(zip(opened, document.labels(list(opened.values())), strict=True))
    for bundle in opened.values():
        if images is not None:
            images.check(bundle.manifest.names)
    waiting: list[tuple[int, Bundle]] = []
    for place, path in enumerate(paths):
        if place in opened:
            run.columns.append(document.empty_column(opened[place], named[place]))
            waiting.append((len(run.columns) - 1, opened[place]))
        else:
            add_report(run, path)
    ready = [(place, bundle) for place, bundle in waiting if _runs_here(run.columns[place], bundle)]
    for place, bundle in ready:
        _measure_column(run.columns[place], bundle, images, seconds, progress)
    for place, bundle in ready:
        _detect(run, place, bundle, images, detections_only, progress)
    asked = [run.columns[place] for place, _ in waiting]
    if asked and not any(column.measured() or column.accuracy or column.detections for column in asked):
        raise InferenceError("; ".join(dict.fromkeys(why for column in asked for why in column.missing.values())))
    return run


def add_report(run: Run, path: Path) -> None:
    """Take up the columns of a ``report.json`` or ``detections.json``, and the contact sheets beside it.

    Raises:
        InputError: see :func:`document.read`.
    """
    for column in document.read(path).columns:
        for name in column.worst_pictures:
            if SHEET.fullmatch(str(name)):
                with suppress(OSError):
                    run.sheets.setdefault(len(run.columns), []).extend(_sheet(path.parent / str(name)))
        run.columns.append(column)


def _sheet(path: Path) -> list[bytes]:
    """A contact sheet; none where the file is a link, a device, or no picture: it goes into the page."""
    if path.is_symlink() or path.parent.is_symlink() or not path.is_file() or path.stat().st_size > MOST_SHEET_BYTES:
        return []
    data = path.read_bytes()
    return [data] if data.startswith(JPEG) else []


def score_detections(path: Path, images: ImageSet, progress: TextProgress) -> Run:
    """Finish a ``detections.json`` where the labelled images and an evaluator are.

    Raises:
        InputError: it holds no detections, or is malformed.
        DataError: the classes or the images are not those of the detections.
    """
    run = Run()
    add_report(run, path)
    if not any(column.detections for column in run.columns):
        raise InputError(f"{path} holds no detections to score; make it with edge-yolov9 report --detections-only")
    for place, column in enumerate(run.columns):
        if column.detections is None:
            continue
        progress(f"{column.label}: score")
        try:
            boxes = Predictions.read(column.detections.images, column.bundle.names)
        except ValueError as error:
            raise document.malformed(path, error) from None
        column.detections = None
        _same_pictures(boxes, images)
        _score(run, place, boxes, images)
    return run


def _runs_here(column: Column, opened: Bundle) -> bool:
    try:
        document.check_runtime(opened)
    except EdgeYoloError as error:
        column.missing["everything"] = str(error)
        return False
    return True


def _measure_column(
    column: Column, opened: Bundle, images: ImageSet | None, seconds: float, progress: TextProgress
) -> None:
    from edge_yolov9.bench import caveats, suite

    pictures = () if images is None else images.paths[:: max(1, len(images.paths) // FRAMES)][:FRAMES]
    try:
        measured = suite.measure_bundle(
            opened.path,
            seconds=seconds,
            images=pictures,
            progress=lambda text: progress(f"{column.label}: {text}"),
            key=opened.key,
        )
    except EdgeYoloError as error:
        column.missing["latency, power, heat, footprint"] = str(error)
        return
    column.machine, column.latency, column.throughput = measured.machine, measured.latency, measured.throughput
    column.power, column.heat, column.footprint = measured.power, measured.heat, measured.footprint
    column.warnings += measured.warnings
    column.missing |= caveats.unread_sensors(measured.power, measured.heat)


def _detect(
    run: Run, place: int, opened: Bundle, images: ImageSet | None, detections_only: bool, progress: TextProgress
) -> None:
    column = run.columns[place]
    if images is None:
        column.missing["accuracy"] = "no --data was given"
        return

    def count(done: int, total: int) -> None:
        progress(f"{column.label}: {done} of {total} images of {images.source}")

    try:
        boxes = predictions.predict(opened, images, count)
        if detections_only:
            column.missing["accuracy"] = LATER
            column.detections = boxes.entry(images)
        else:
            _score(run, place, boxes, images)
    except EdgeYoloError as error:
        column.missing["accuracy"] = str(error)


def _score(run: Run, place: int, boxes: Predictions, images: ImageSet) -> None:
    column = run.columns[place]
    model = evaluation.Model(column.bundle.names, column.bundle.thresholds, column.bundle.accuracy)
    column.accuracy, run.sheets[place] = evaluation.accuracy_section(boxes, images, model)
    column.missing.pop("accuracy", None)


def _same_pictures(boxes: Predictions, images: ImageSet) -> None:
    for key, path in zip(images.keys, images.paths, strict=True):
        if key in boxes.digests and sha256(path) != boxes.digests[key]:
            raise DataError(f"{path} is not the picture that the detections are of (sha256 differs); copy it again")
