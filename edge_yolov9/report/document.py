"""``report.json``: columns of figures, one per bundle and machine. The schema is described in ``docs/report.md``.

The dataclasses here are the document; their fields are the keys of JSON, which :func:`read` alone turns into them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_yolov9.bench.energy import NoPower, Power
from edge_yolov9.bench.footprint import Footprint
from edge_yolov9.bench.measured import Latency, Throughput
from edge_yolov9.bench.sensors.machine import Machine
from edge_yolov9.bench.spread import NOT_A_ROW
from edge_yolov9.bench.throttling import Heat
from edge_yolov9.bundle import Bundle, Thresholds
from edge_yolov9.errors import InputError, RuntimeNotInstalled
from edge_yolov9.files import from_json
from edge_yolov9.registry import target
from edge_yolov9.report.accuracy import AccuracySection
from edge_yolov9.report.predictions import DetectionsEntry
from edge_yolov9.text import shown

SCHEMA = "edge-yolov9-report"
SCHEMA_VERSION = 1
MOST_COLUMNS = 100
"""Columns of a document; a page of more is of no use."""
MOST_BYTES = 2**29
"""Size of a file; detections of 5000 images take 100 MB."""
LARGEST_FILE = 2**62


@dataclass(frozen=True)
class Provenance:
    """The checkpoint that a bundle was compiled from."""

    file: str | None
    sha256: str | None
    variant: str | None


@dataclass(frozen=True)
class BundleSection:
    """A bundle, as its manifest describes it."""

    path: str
    sha256: str
    """Digest of all files."""
    bytes: int
    variant: str
    target: str
    board: str
    precision: str
    input_size: tuple[int, int]
    """(height, width), pixels."""
    tools: Mapping[str, str]
    source: Provenance
    licence: Mapping[str, str]
    names: tuple[str, ...]
    thresholds: Thresholds
    accuracy: Any = field(metadata=NOT_A_ROW)
    """``accuracy`` of the manifest, as it is there."""

    def __post_init__(self) -> None:
        if not 0 <= self.bytes < LARGEST_FILE:
            raise ValueError(f"expected the size of a bundle in bytes, got {shown(self.bytes)}")


@dataclass
class Column:
    """What is known of one bundle on one machine; sections that were not measured are None."""

    label: str
    created: str
    """Time of the measurement, UTC."""
    bundle: BundleSection
    warnings: list[str]
    missing: dict[str, str]
    """What could not be measured, and why."""
    machine: Machine | None = None
    latency: Latency | None = None
    throughput: Throughput | None = None
    power: Power | NoPower | None = None
    heat: Heat | None = None
    footprint: Footprint | None = None
    accuracy: AccuracySection | None = None
    detections: DetectionsEntry | None = None
    """Detections that are still to be scored; in ``detections.json`` alone."""
    worst_pictures: tuple[Any, ...] = ()
    """Contact sheets, paths beside the file; what does not look like one of ours is passed over."""

    def measured(self) -> dict[str, object]:
        """Sections that :mod:`edge_yolov9.bench` filled, by name."""
        sections = {
            "machine": self.machine,
            "latency": self.latency,
            "throughput": self.throughput,
            "power": self.power,
            "heat": self.heat,
            "footprint": self.footprint,
        }
        return {name: section for name, section in sections.items() if section is not None}


@dataclass(frozen=True)
class Document:
    """A report."""

    schema: str
    schema_version: int
    columns: tuple[Column, ...]
    edge_yolov9: str = ""
    """Version that wrote the file."""
    command: str = ""
    """Command line that wrote the file."""
    partial: bool = False
    """Whether any column has something under ``missing``."""

    def __post_init__(self) -> None:
        if not 0 < len(self.columns) <= MOST_COLUMNS:
            raise ValueError(f"expected 1 to {MOST_COLUMNS} columns, got {len(self.columns)}")


def empty_column(opened: Bundle, label: str) -> Column:
    """A column that names its bundle and holds no figure yet."""
    manifest = opened.manifest
    thresholds = manifest.thresholds
    section = BundleSection(
        path=str(opened.path),
        sha256=opened.digest,
        bytes=opened.bytes,
        variant=manifest.variant,
        target=manifest.target,
        board=manifest.board,
        precision=manifest.precision,
        input_size=(manifest.input.height, manifest.input.width),
        tools=manifest.tools,
        source=Provenance(**{key: manifest.source.get(key) for key in ("file", "sha256", "variant")}),
        licence=manifest.licence,
        names=manifest.names,
        thresholds=Thresholds(thresholds.confidence, thresholds.iou, thresholds.max_detections),
        accuracy=manifest.accuracy,
    )
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Column(label, now, section, [], {})


def labels(opened: Sequence[Bundle]) -> list[str]:
    """A short name per bundle, no two alike."""
    short = [f"{bundle.manifest.variant} {bundle.manifest.target} {bundle.manifest.precision}" for bundle in opened]
    sized = [
        f"{name} {bundle.manifest.input.width} x {bundle.manifest.input.height}"
        for name, bundle in zip(short, opened, strict=True)
    ]
    named = [f"{name} ({bundle.path.name})" for name, bundle in zip(short, opened, strict=True)]
    for candidates in (short, sized, named):
        if len(set(candidates)) == len(candidates):
            return candidates
    return [f"{place}: {name}" for place, name in enumerate(named, 1)]


def distinct(columns: Sequence[Column]) -> list[str]:
    """The columns' labels, with the board, the date or a number where some are alike."""
    own = [column.label for column in columns]
    boards = [f"{column.label}, {column.machine.soc if column.machine else None}" for column in columns]
    dates = [f"{column.label}, {column.created}" for column in columns]
    for candidates in (own, boards, dates):
        if len(set(candidates)) == len(candidates):
            return candidates
    return [f"{place}: {label}" for place, label in enumerate(own, 1)]


def make(columns: Sequence[Column], command: str) -> Document:
    """A document of these columns, which ``command`` makes.

    Raises:
        InputError: there are too many of them.
    """
    from edge_yolov9 import __version__

    if len(columns) > MOST_COLUMNS:
        raise InputError(f"a report has at most {MOST_COLUMNS} columns, got {len(columns)}; give fewer bundles")
    partial = any(column.missing for column in columns)
    return Document(SCHEMA, SCHEMA_VERSION, tuple(columns), __version__, command, partial)


def read(path: Path) -> Document:
    """Open a report's JSON.

    Raises:
        InputError: it is missing, not a report, of a newer schema, or malformed.
    """
    data = _json(path)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a report of edge-yolov9; expected a report.json or a detections.json")
    version = data.get("schema_version")
    if type(version) is not int or version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has report schema {shown(version)}, this edge-yolov9 reads up to {SCHEMA_VERSION}; "
            "update edge-yolov9"
        )
    try:
        return from_json(Document, data, "its content")
    except ValueError as error:
        raise malformed(path, error) from None


def _json(path: Path) -> object:
    """What a JSON file holds; devices and pipes, which may never end, are refused."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file; expected a report.json or a detections.json")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(f"{path} has {size / 1e6:.0f} MB; a report has at most {MOST_BYTES / 1e6:.0f} MB")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise InputError(f"cannot read the report {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def malformed(path: Path, why: object) -> InputError:
    """The error for a report whose content is not what its schema says."""
    return InputError(f"{path} is malformed: {why}; copy the file again or make the report again")


def check_runtime(opened: Bundle) -> None:
    """Refuse a bundle that is for another machine.

    Raises:
        RuntimeNotInstalled: its runtime is not here.
    """
    wanted = target(opened.manifest.target)
    if wanted.runtime is None:
        other = "edge-yolov9 val for AP alone" if wanted.stand_in else wanted.how_to_install
        raise RuntimeNotInstalled(
            f"{opened.path} is a bundle for {wanted.name}, whose runtime ({' or '.join(wanted.runtimes)}) is not "
            f"installed here, so it cannot be measured; run the report on its device, or {other}"
        )
