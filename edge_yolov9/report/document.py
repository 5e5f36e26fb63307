"""``report.json``: columns of figures, one per bundle and machine. The schema is described in ``docs/report.md``."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import InputError, RuntimeNotInstalled
from edge_yolov9.registry import target
from edge_yolov9.report.evaluation import of_manifest

SCHEMA = "edge-yolov9-report"
SCHEMA_VERSION = 1

MEASURED = ("machine", "latency", "throughput", "power", "heat", "footprint")
"""Sections that :mod:`edge_yolov9.bench.suite` fills."""
SECTIONS = (*MEASURED, "accuracy")

Column = dict[str, Any]
Document = dict[str, Any]


def column(opened: Bundle, label: str) -> Column:
    """A column that names its bundle and holds no figure yet."""
    manifest = opened.manifest
    return {
        "label": label,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "bundle": {
            "path": str(opened.path),
            "sha256": opened.digest,
            "bytes": opened.bytes,
            "variant": manifest.variant,
            "target": manifest.target,
            "board": manifest.board,
            "precision": manifest.precision,
            "input_size": [manifest.input.height, manifest.input.width],
            "tools": manifest.tools,
            "source": {key: manifest.source.get(key) for key in ("file", "sha256", "variant")},
            "licence": manifest.licence,
            **of_manifest(manifest),
        },
        "warnings": [],
        "missing": {},
    }


def labels(opened: Sequence[Bundle]) -> list[str]:
    """A short name per bundle, no two alike."""
    short = [f"{one.manifest.variant} {one.manifest.target} {one.manifest.precision}" for one in opened]
    sized = [
        f"{name} {one.manifest.input.width} x {one.manifest.input.height}"
        for name, one in zip(short, opened, strict=True)
    ]
    named = [f"{name} ({one.path.name})" for name, one in zip(short, opened, strict=True)]
    for candidates in (short, sized, named):
        if len(set(candidates)) == len(candidates):
            return candidates
    return [f"{place}: {name}" for place, name in enumerate(named, 1)]


def distinct(columns: Sequence[Column]) -> list[str]:
    """The columns' labels, with the board, the date or a number where some are alike."""
    own = [str(entry["label"]) for entry in columns]
    boards = [f"{label}, {entry.get('machine', {}).get('soc')}" for label, entry in zip(own, columns, strict=True)]
    dates = [f"{label}, {entry['created']}" for label, entry in zip(own, columns, strict=True)]
    for candidates in (own, boards, dates):
        if len(set(candidates)) == len(candidates):
            return candidates
    return [f"{place}: {label}" for place, label in enumerate(own, 1)]


def make(columns: Sequence[Column], command: str) -> Document:
    """A document of these columns."""
    from edge_yolov9 import __version__

    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "edge_yolov9": __version__,
        "command": command,
        "partial": any(entry["missing"] for entry in columns),
        "columns": list(columns),
    }


def read(path: Path) -> Document:
    """Open a report's JSON.

    Raises:
        InputError: it is missing, not a report, of a newer schema, or malformed.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise InputError(f"cannot read the report {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise InputError(f"{path} is not a report of edge-yolov9; expected a report.json or a detections.json")
    version = data.get("schema_version")
    if type(version) is not int or version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has report schema {version!r}, this edge-yolov9 reads up to {SCHEMA_VERSION}; update edge-yolov9"
        )
    if not isinstance(data.get("columns"), list) or not data["columns"]:
        raise malformed(path, "it has no columns")
    for entry in data["columns"]:
        _check(path, entry)
    return data


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _check(path: Path, entry: Any) -> None:
    shapes: Mapping[str, type] = {"label": str, "created": str, "bundle": dict, "warnings": list, "missing": dict}
    for key, kind in shapes.items():
        if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
            raise malformed(path, f"every column needs {key}")
    kinds: Mapping[str, type] = {**dict.fromkeys(("sha256", "variant", "target", "precision"), str), "names": list}
    for key, kind in {**kinds, "bytes": int, "thresholds": dict}.items():
        if not isinstance(entry["bundle"].get(key), kind):
            raise malformed(path, f"every bundle needs {key}")
    for key in SECTIONS:
        if not isinstance(entry.get(key, {}), dict):
            raise malformed(path, f"{key} must be an object")
    classes = entry.get("accuracy", {}).get("classes", [])
    found = [
        one.get("name") if isinstance(one, dict) else None for one in (classes if isinstance(classes, list) else [0])
    ]
    if not all(isinstance(name, str) for name in (*entry["bundle"]["names"], *found)):
        raise malformed(path, "class names must be texts")


def malformed(what: Path | str, why: object) -> InputError:
    """The error for a report whose content is not what its schema says."""
    told = f"it has no {why}" if isinstance(why, KeyError) else why
    return InputError(f"{what} is malformed: {told}; copy the file again or make the report again")


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
