"""A report's columns as a page: the summary first, then every section, bundles side by side."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import fields

from edge_yolov9.bench.energy import NoPower, Power
from edge_yolov9.bench.stages import Stages, Timeline
from edge_yolov9.report import cells, plots
from edge_yolov9.report.document import Column, Document
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
SECTIONS = ("latency", "throughput", "power", "heat", "footprint", "machine")
"""Measured sections in the order of the page; each has its name as title."""


def page(document: Document, pictures: Mapping[str, bytes]) -> Page:
    """The page of a document; ``pictures`` are contact sheets by the names in ``worst_pictures`` of the columns."""
    columns = document.columns
    drawn = has_plots()
    blocks: list[Block] = [Heading("edge-yolov9 report", 1), Text(_origin(document))]
    blocks += _notices(columns)
    blocks += [Heading("Summary"), Table(("", *_labels(columns)), _summary(columns)), Text(PLUS_MINUS)]
    if not drawn:
        blocks.append(Text(NO_PLOTS))
    blocks += accuracy(columns, pictures, drawn)
    for name in SECTIONS:
        blocks += _section(name, columns, drawn)
    return [*blocks, Heading("Bundles"), Table(("", *_labels(columns)), _merged([_bundle(c) for c in columns]))]


def short(document: Document) -> Page:
    """What a terminal gets: notices and the summary."""
    columns = document.columns
    return [*_notices(columns), Table(("", *_labels(columns)), _summary(columns))]


def has_plots() -> bool:
    """Whether matplotlib is here."""
    return importlib.util.find_spec("matplotlib") is not None


def _labels(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(column.label for column in columns)


def _origin(document: Document) -> str:
    times = sorted({column.created for column in document.columns})
    when = times[0] if len(times) == 1 else f"{times[0]} to {times[-1]}"
    return f"{when}, edge-yolov9 {document.edge_yolov9}. Command: {document.command}"


def _notices(columns: Sequence[Column]) -> list[Block]:
    notices: list[Block] = []
    missing = [f"{c.label}: {what}: {why}" for c in columns for what, why in c.missing.items()]
    if missing:
        notices.append(Notice("This report is partial", tuple(missing)))
    warned: dict[str, list[str]] = {}
    for column in columns:
        for warning in column.warnings:
            warned.setdefault(warning, []).append(column.label)
    items = [w if len(who) == len(columns) else f"{w} ({', '.join(who)})" for w, who in warned.items()]
    if items:
        notices.append(Notice("Mind, when reading these figures", tuple(items)))
    return notices


def _summary(columns: Sequence[Column]) -> tuple[tuple[str, ...], ...]:
    rows = [
        ("AP (IoU .50:.95)", *map(_ap, columns)),
        ("AP against float, points", *map(_lost, columns)),
        ("data", *map(_data, columns)),
    ]
    figures = [summary_figures(column) for column in columns]
    for name in figures[0]:
        values = [column[name] for column in figures]
        if any(value is not None for value in values):
            rows.append((name, *map(cells.text, values)))
    return tuple(rows)


def summary_figures(column: Column) -> dict[str, object]:
    """What the summary shows of a column, by the name of the row; None where it was not measured."""
    latency, power = column.latency, column.power
    measured = power if isinstance(power, Power) else None
    return {
        "latency of a frame, ms (p50 / p90 / p99 / max)": latency and latency.stages.total,
        "inference alone, ms (p50 / p90 / p99 / max)": latency and latency.stages.inference,
        "throughput, frames per second": column.throughput and column.throughput.fps,
        "throttling": column.heat and column.heat.throttling.verdict,
        "energy per frame, J": measured and measured.energy_per_frame_j,
        "power, W": measured and measured.load_w,
        "power": str(power.unavailable).partition(":")[0] if isinstance(power, NoPower) else None,
        "memory at its peak, MB": column.footprint and column.footprint.memory_mb.get("peak"),
        "bundle, MB": column.bundle.bytes / 1e6,
    }


def _ap(column: Column) -> str:
    section = column.accuracy
    return "not measured" if section is None else cells.spread(section.AP, section.standard_error.AP, 4)


def _lost(column: Column) -> str:
    section = column.accuracy
    if section is None or section.AP is None:
        return "-"
    before = section.float
    if before is None or not before.comparable or before.AP is None:
        return "-"
    return f"{100 * (section.AP - before.AP):+.2f}"


def _data(column: Column) -> str:
    if column.accuracy is None:
        return "-"
    data = column.accuracy.data
    return f"{data.file}, {data.split}, {data.images} images"


def _section(name: str, columns: Sequence[Column], drawn: bool) -> list[Block]:
    sections = [column.measured().get(name) for column in columns]
    if not any(sections):
        return []
    blocks: list[Block] = [Heading(name.capitalize())]
    if name == "latency":
        blocks += _stages(columns)
    blocks.append(Table(("", *_labels(columns)), _merged(sections, apart="stages")))  # they have a table of their own
    if drawn and name == "latency":
        blocks += _latency_plots(columns)
    return blocks


def _stages(columns: Sequence[Column]) -> list[Block]:
    intro = "Milliseconds per frame, batch 1, after warm-up: p50 ± its spread / p90 / p99 / max."
    stages = [column.latency and column.latency.stages for column in columns]
    rows = tuple(
        (part.name.replace("decode_nms", "decode + NMS"), *(cells.text(s and getattr(s, part.name)) for s in stages))
        for part in fields(Stages)
    )
    return [Text(intro), Table(("stage", *_labels(columns)), rows)]


def _latency_plots(columns: Sequence[Column]) -> list[Block]:
    pictures: list[Block] = []
    for place, column in enumerate(columns):
        if column.latency is None:
            continue
        label, total = column.label, column.latency.stages.total
        drawn = plots.latency_histogram(f"{label}: latency of a frame", total.histogram)
        pictures.append(Picture(f"figures/latency-{place}.png", drawn, f"{label}: histogram of the latency of a frame"))
        drawn = plots.timeline(f"{label}: sustained run", _lines(column.latency.sustained.timeline))
        alt = f"{label}: latency, clocks and temperature during the sustained run"
        pictures.append(Picture(f"figures/timeline-{place}.png", drawn, alt))
    return pictures


def _lines(run: Timeline) -> list[Axis]:
    """What a sustained run's timeline holds, one axis each: unit, seconds, named lines."""
    axes: list[Axis] = [("ms", run.t, {"p50": run.p50, "p90": run.p90, "max": run.max})]
    for unit, named in (("MHz", run.mhz), ("°C", {"hottest": run.celsius}), ("W", {"total": run.watts})):
        known = {name: line for name, line in named.items() if any(value is not None for value in line)}
        if known:
            axes.append((unit, run.sensors_t, known))
    return axes


def _merged(sections: Sequence[object], apart: str = "") -> tuple[tuple[str, ...], ...]:
    """Rows of every leaf that any column has, in the order of the columns; none of those under the key ``apart``."""
    rows: dict[cells.Path, list[str]] = {}
    for place, section in enumerate(sections):
        for path, value in cells.leaves(section):
            if path[0] != apart:
                rows.setdefault(path, ["-"] * len(sections))[place] = cells.text(value)
    return tuple((cells.title(path), *values) for path, values in rows.items())


def _bundle(column: Column) -> dict[str, object]:
    about = column.bundle
    shown = {part.name: getattr(about, part.name) for part in fields(about)}
    for key in ("accuracy", "names", "tools", "bytes"):
        shown.pop(key)
    return {**shown, "bytes": f"{about.bytes:,}", "classes": len(about.names)}
