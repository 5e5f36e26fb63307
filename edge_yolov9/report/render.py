"""A report's columns as a page: the summary first, then every section, bundles side by side."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_yolov9.report import cells, plots
from edge_yolov9.report.document import MEASURED, Column, Document
from edge_yolov9.report.page import Block, Heading, Notice, Page, Picture, Table, Text
from edge_yolov9.report.plots import Axis
from edge_yolov9.report.render_accuracy import accuracy

PLUS_MINUS = (
    "± is one standard error: of AP by leaving groups of images out, of a median by its rounds. What differs by less "
    "than two of them may be noise."
)
NO_PLOTS = (
    "Plots are left out: matplotlib is not installed here. Make the page again where it is: "
    'pip install "edge-yolov9[report]", then edge-yolov9 report report.json -o FOLDER.'
)
TITLES = {
    "machine": "Machine",
    "latency": "Latency",
    "throughput": "Throughput",
    "power": "Power",
    "heat": "Heat",
    "footprint": "Footprint",
}
STAGES = ("capture", "letterbox", "transfer", "inference", "decode_nms", "total")


def page(document: Document, pictures: Mapping[str, bytes]) -> Page:
    """The page of a document.

    Args:
        document: as :func:`edge_yolov9.report.document.read` gives it.
        pictures: contact sheets by the names in ``worst_pictures`` of the columns.

    Raises:
        KeyError, TypeError, ValueError, ...: a section is not what the schema says.
    """
    columns = document["columns"]
    drawn = has_plots()
    blocks: list[Block] = [Heading("edge-yolov9 report", 1), Text(_origin(document))]
    blocks += _notices(document)
    blocks += [Heading("Summary"), Table(("", *_labels(columns)), _summary(columns)), Text(PLUS_MINUS)]
    if not drawn:
        blocks.append(Text(NO_PLOTS))
    blocks += accuracy(columns, pictures, drawn)
    for section in ("latency", *(name for name in MEASURED if name not in ("latency", "machine")), "machine"):
        blocks += _section(section, columns, drawn)
    return [*blocks, Heading("Bundles"), Table(("", *_labels(columns)), _merged([_bundle(c) for c in columns]))]


def short(document: Document) -> Page:
    """What a terminal gets: notices and the summary."""
    columns = document["columns"]
    return [*_notices(document), Table(("", *_labels(columns)), _summary(columns))]


def has_plots() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def _labels(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(str(entry["label"]) for entry in columns)


def _origin(document: Document) -> str:
    times = sorted({str(entry["created"]) for entry in document["columns"]})
    when = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    return f"{when}, edge-yolov9 {document.get('edge_yolov9', '')}. Command: {document.get('command', '')}"


def _notices(document: Document) -> list[Block]:
    found: list[Block] = []
    missing = [f"{c['label']}: {what}: {why}" for c in document["columns"] for what, why in c["missing"].items()]
    if missing:
        found.append(Notice("This report is partial", tuple(missing)))
    told: dict[str, list[str]] = {}
    for entry in document["columns"]:
        for warning in entry["warnings"]:
            told.setdefault(str(warning), []).append(entry["label"])
    everyone = len(document["columns"])
    items = [w if len(who) == everyone else f"{w} ({', '.join(who)})" for w, who in told.items()]
    if items:
        found.append(Notice("Mind, when reading these figures", tuple(items)))
    return found


Reader = Callable[[Column], Any]


def summary_rows() -> dict[str, Reader]:
    """What the summary shows: a figure or None."""

    def at(*path: str) -> Reader:
        def read(entry: Column) -> Any:
            value: Any = entry
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            return value

        return read

    return {
        "latency of a frame, ms (p50 / p90 / p99 / max)": at("latency", "stages", "total"),
        "inference alone, ms (p50 / p90 / p99 / max)": at("latency", "stages", "inference"),
        "throughput, frames per second": at("throughput", "fps"),
        "throttling": at("heat", "throttling", "verdict"),
        "energy per frame, J": at("power", "energy_per_frame_j"),
        "power, W": at("power", "load_w"),
        "power": _no_power,
        "memory at its peak, MB": at("footprint", "memory_mb", "peak"),
        "bundle, MB": lambda entry: entry["bundle"]["bytes"] / 1e6,
    }


def _no_power(entry: Column) -> str | None:
    """The short form; the section says why."""
    told = entry.get("power", {}).get("unavailable")
    return None if told is None else str(told).partition(":")[0]


def _summary(columns: Sequence[Column]) -> tuple[tuple[str, ...], ...]:
    rows = [
        ("AP (IoU .50:.95)", *(_ap(entry) for entry in columns)),
        ("AP against float, points", *(_lost(entry) for entry in columns)),
        ("data", *(_data(entry) for entry in columns)),
    ]
    for name, reader in summary_rows().items():
        values = [reader(entry) for entry in columns]
        if any(value is not None for value in values):
            rows.append((name, *(cells.text(value) for value in values)))
    return tuple(rows)


def _ap(entry: Column) -> str:
    figures = entry.get("accuracy")
    if figures is None:
        return "not measured"
    return cells.spread(figures["AP"], figures["standard_error"]["AP"], 4)


def _lost(entry: Column) -> str:
    before = entry.get("accuracy", {}).get("float")
    if before is None or not before["comparable"] or before["AP"] is None:
        return "-"
    return f"{100 * (entry['accuracy']['AP'] - before['AP']):+.2f}"


def _data(entry: Column) -> str:
    data = entry.get("accuracy", {}).get("data")
    return f"{data['file']}, {data['split']}, {data['images']} images" if data else "-"


def _section(name: str, columns: Sequence[Column], drawn: bool) -> list[Block]:
    if not any(name in entry for entry in columns):
        return []
    blocks: list[Block] = [Heading(TITLES[name])]
    if name == "latency":
        blocks += _latency(columns)
    apart = ("stages", "bundle")  # the stages have a table of their own, so have the bundles
    rest = [{key: value for key, value in entry.get(name, {}).items() if key not in apart} for entry in columns]
    blocks.append(Table(("", *_labels(columns)), _merged(rest)))
    if drawn and name == "latency":
        blocks += _latency_plots(columns)
    return blocks


def _latency(columns: Sequence[Column]) -> list[Block]:
    found = [entry.get("latency", {}).get("stages", {}) for entry in columns]
    names = [name for name in STAGES if any(name in stages for stages in found)]
    rows = tuple(
        (name.replace("decode_nms", "decode + NMS"), *(cells.text(stages.get(name)) for stages in found))
        for name in names
    )
    intro = "Milliseconds per frame, batch 1, after warm-up: p50 ± its spread / p90 / p99 / max."
    return [Text(intro), Table(("stage", *_labels(columns)), rows)] if rows else []


def _latency_plots(columns: Sequence[Column]) -> list[Block]:
    found: list[Block] = []
    for place, entry in enumerate(columns):
        latency, label = entry.get("latency", {}), entry["label"]
        total = latency.get("stages", {}).get("total", {})
        if isinstance(total, Mapping) and "histogram" in total:
            drawn = plots.latency_histogram(f"{label}: latency of a frame", total["histogram"])
            found.append(
                Picture(f"figures/latency-{place}.png", drawn, f"{label}: histogram of the latency of a frame")
            )
        lines = _lines(entry)
        if lines:
            drawn = plots.timeline(f"{label}: sustained run", lines)
            alt = f"{label}: latency, clocks and temperature during the sustained run"
            found.append(Picture(f"figures/timeline-{place}.png", drawn, alt))
    return found


def _lines(entry: Column) -> list[Axis]:
    """What a sustained run's timeline holds, one axis each: unit, seconds, named lines."""
    told = entry.get("latency", {}).get("sustained", {}).get("timeline")
    if not told:
        return []
    found: list[Axis] = [("ms", told["t"], {key: told[key] for key in ("p50", "p90", "max")})]
    seconds = told.get("sensors_t", [])
    for unit, named in (
        ("MHz", told.get("mhz", {})),
        ("°C", {"hottest": told.get("celsius", [])}),
        ("W", {"total": told.get("watts", [])}),
    ):
        known = {name: line for name, line in named.items() if any(value is not None for value in line)}
        if known:
            found.append((unit, seconds, known))
    return found


def _merged(sections: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    """Rows of every leaf that any column has, in the order of the columns."""
    found: dict[tuple[str, ...], list[str]] = {}
    for place, section in enumerate(sections):
        for path, value in cells.leaves(section):
            found.setdefault(path, ["-"] * len(sections))[place] = cells.text(value)
    return tuple((cells.title(path), *values) for path, values in found.items())


def _bundle(entry: Column) -> dict[str, Any]:
    shown = {key: value for key, value in entry["bundle"].items() if key not in ("accuracy", "names", "tools", "bytes")}
    return {**shown, "bytes": f"{entry['bundle']['bytes']:,}", "classes": len(entry["bundle"]["names"])}
