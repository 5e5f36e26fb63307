"""The published family beside what was counted and measured here: a table, and figures 1 and 5 of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def page(table: Mapping[str, Any]) -> Page:
    """The page of what ``cli.models.measure`` gives (``docs/report.md`` describes it)."""
    blocks: list[Block] = [Heading("YOLOv9 on this machine", 1), Text(_about(table))]
    blocks.append(Table(HEADER, tuple(_row(row) for row in table["models"])))
    blocks += [Text(note) for note in table["notes"]]
    points = table["points"]
    if points:
        rows = tuple(_point_row(point) for point in points)
        blocks += [Heading("Your models"), Table(("model", "data", "AP", "parameters, M", "latency, ms"), rows)]
        blocks.append(Text("AP of your models is of the data named, the published AP of COCO val2017."))
    if not has_plots():
        return [*blocks, Text(NO_PLOTS)]
    return [*blocks, *_figures(table["models"], points)]


def _about(table: Mapping[str, Any]) -> str:
    return (
        f"{table['created']}, {table['machine']}. Latency: the bundle's own inference, one process per bundle, in "
        "turn, median ± spread of the rounds."
    )


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    own, published, timed = row["counted"], row["published"], row["measured"]
    counted = ("-", "-") if own is None else (f"{own['parameters'] / 1e6:.1f}", f"{own['gflops_640']:.1f}")
    told = (f"{published['parameters_m']:.1f}", f"{published['gflops']:.1f}", f"{published['AP']:.1f}")
    if timed is None:
        return (row["model"], *counted, *told, "-", "-")
    latency = f"{cells.spread(cells.centre(timed['latency_ms']), cells.error(timed['latency_ms']))} ({timed['what']})"
    return (row["model"], *counted, *told, f"{timed['bytes'] / 1e6:.1f}", latency)


def _point_row(point: Mapping[str, Any]) -> tuple[str, ...]:
    latency = "-" if point["latency_ms"] is None else cells.text(point["latency_ms"])
    ap = "not measured" if point["AP"] is None else cells.spread(point["AP"], point["standard_error"], 4)
    return (point["label"], point["data"] or "-", ap, f"{point['parameters'] / 1e6:.1f}", latency)


def _figures(models: Sequence[Mapping[str, Any]], points: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Figure 1: AP over parameters. Figure 5: AP over operations. Then, what a user asks: AP over latency here."""
    known = [point for point in points if point["AP"] is not None]
    found: list[Block] = []
    for name, label, column, key, unit in (
        ("figure-1", "parameters, millions", "parameters_m", "parameters", 1e6),
        ("figure-5", "GFLOPs at 640 x 640", "gflops", "gflops_640", 1.0),
    ):
        line = [(row["model"], row["published"][column], row["published"]["AP"], 0.0) for row in models]
        mine = [_point(point, point[key] / unit) for point in known]
        drawn = plots.accuracy_over(label, line, mine)
        alt = f"AP over {label}, as {name.replace('-', ' ')} of the paper has it, with your measured points"
        found.append(Picture(f"figures/{name}.png", drawn, alt))
    timed = [row for row in models if row["measured"]]
    if len(timed) > 1:
        line = [
            (row["model"], cells.centre(row["measured"]["latency_ms"]), row["published"]["AP"], 0.0) for row in timed
        ]
        mine = [_point(p, cells.centre(p["latency_ms"])) for p in known if p["latency_ms"] is not None]
        drawn = plots.accuracy_over("latency here, ms", line, mine)
        found.append(Picture("figures/latency.png", drawn, "published AP over the latency measured here"))
    return found


def _point(point: Mapping[str, Any], x: float) -> plots.Point:
    return f"{point['label']}, {point['data']}", x, 100 * point["AP"], 100 * (point["standard_error"] or 0.0)


def published(size: str) -> dict[str, float]:
    """The paper's row: ``parameters_m``, ``gflops`` at 640 x 640, ``AP`` on COCO val2017 in points."""
    told = VARIANTS[size].published
    return {"parameters_m": told.params, "gflops": told.gflops, "AP": told.ap}
