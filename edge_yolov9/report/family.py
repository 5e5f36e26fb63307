"""The published family beside what was counted and measured here: a table, and figures 1 and 5 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_yolov9.bench.spread import Few, Many
from edge_yolov9.report import cells, plots
from edge_yolov9.report.page import Block, Heading, Page, Picture, Table, Text
from edge_yolov9.report.render import NO_PLOTS, has_plots
from edge_yolov9.variants import VARIANTS

HEADER = (
    "model",
    "parameters, M",
    "GFLOPs, 640 x 640",
    "published: parameters, M",
    "GFLOPs",
    "AP on COCO val2017",
    "bundle, MB",
    "latency here, ms",
)


@dataclass(frozen=True)
class Published:
    """A row of the paper: millions of parameters, GFLOPs at 640 x 640, AP on COCO val2017 in points."""

    parameters_m: float
    gflops: float
    AP: float


@dataclass(frozen=True)
class Cost:
    """What was counted on the deployed graph."""

    parameters: float
    gflops_640: float
    """GFLOPs at 640 x 640, two per multiply-add."""


@dataclass(frozen=True)
class TimedBundle:
    """A bundle that was timed here."""

    what: str
    bytes: int
    latency_ms: Few


@dataclass(frozen=True)
class ModelRow:
    """A model of the family; what was not counted or timed here is None."""

    model: str
    published: Published
    counted: Cost | None
    measured: TimedBundle | None


@dataclass(frozen=True)
class ModelPoint:
    """A model of the user; what is unknown is None."""

    label: str
    AP: float | None
    standard_error: float | None
    data: str | None
    """Name of the data file that AP is of."""
    latency_ms: Few | Many | None
    parameters: float
    gflops_640: float


@dataclass(frozen=True)
class ModelTable:
    """``models.json``."""

    created: str
    machine: str
    models: tuple[ModelRow, ...]
    points: tuple[ModelPoint, ...]
    notes: tuple[str, ...]


def page(table: ModelTable) -> Page:
    """The page of a model table."""
    blocks: list[Block] = [Heading("YOLOv9 on this machine", 1), Text(_about(table))]
    blocks.append(Table(HEADER, tuple(_row(row) for row in table.models)))
    blocks += [Text(note) for note in table.notes]
    if table.points:
        rows = tuple(_point_row(point) for point in table.points)
        blocks += [Heading("Your models"), Table(("model", "data", "AP", "parameters, M", "latency, ms"), rows)]
        blocks.append(Text("AP of your models is of the data named, the published AP of COCO val2017."))
    if not has_plots():
        return [*blocks, Text(NO_PLOTS)]
    return [*blocks, *_figures(table.models, table.points)]


def _about(table: ModelTable) -> str:
    return (
        f"{table.created}, {table.machine}. Latency: the bundle's own inference, one process per bundle, in "
        "turn, median ± spread of the rounds."
    )


def _row(row: ModelRow) -> tuple[str, ...]:
    own, published, timed = row.counted, row.published, row.measured
    counted = ("-", "-") if own is None else (f"{own.parameters / 1e6:.1f}", f"{own.gflops_640:.1f}")
    stated = (f"{published.parameters_m:.1f}", f"{published.gflops:.1f}", f"{published.AP:.1f}")
    if timed is None:
        return (row.model, *counted, *stated, "-", "-")
    latency = f"{cells.spread(timed.latency_ms.centre, timed.latency_ms.error)} ({timed.what})"
    return (row.model, *counted, *stated, f"{timed.bytes / 1e6:.1f}", latency)


def _point_row(point: ModelPoint) -> tuple[str, ...]:
    ap = "not measured" if point.AP is None else cells.spread(point.AP, point.standard_error, 4)
    return (point.label, point.data or "-", ap, f"{point.parameters / 1e6:.1f}", cells.text(point.latency_ms))


def _figures(models: Sequence[ModelRow], points: Sequence[ModelPoint]) -> list[Block]:
    """Figure 1: AP over parameters. Figure 5: AP over operations. Then, what a user asks: AP over latency here."""
    known = [point for point in points if point.AP is not None]
    parameters = plots.accuracy_over(
        "parameters, millions",
        [(row.model, row.published.parameters_m, row.published.AP, 0.0) for row in models],
        [_point(point, point.parameters / 1e6) for point in known],
    )
    operations = plots.accuracy_over(
        "GFLOPs at 640 x 640",
        [(row.model, row.published.gflops, row.published.AP, 0.0) for row in models],
        [_point(point, point.gflops_640) for point in known],
    )
    alt = "AP over {}, as {} of the paper has it, with your measured points"
    pictures: list[Block] = [
        Picture("figures/figure-1.png", parameters, alt.format("parameters, millions", "figure 1")),
        Picture("figures/figure-5.png", operations, alt.format("GFLOPs at 640 x 640", "figure 5")),
    ]
    timed = [(row, row.measured.latency_ms.centre) for row in models if row.measured is not None]
    if len(timed) > 1:
        line = [(row.model, ms, row.published.AP, 0.0) for row, ms in timed]
        mine = [_point(point, point.latency_ms.centre) for point in known if point.latency_ms is not None]
        drawn = plots.accuracy_over("latency here, ms", line, mine)
        pictures.append(Picture("figures/latency.png", drawn, "published AP over the latency measured here"))
    return pictures


def _point(point: ModelPoint, x: float) -> plots.Point:
    return f"{point.label}, {point.data}", x, 100 * (point.AP or 0.0), 100 * (point.standard_error or 0.0)


def published(size: str) -> Published:
    """The paper's row of a variant's size, e.g. "t"."""
    row = VARIANTS[size].published
    return Published(row.params, row.gflops, row.ap)
