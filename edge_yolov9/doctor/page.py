"""The page of a data set: counts, findings with pictures, sizes against strides."""

from __future__ import annotations

from edge_yolov9.data.findings import Group, Level
from edge_yolov9.doctor import charts
from edge_yolov9.doctor.examine import Examination, Report
from edge_yolov9.doctor.sheets import sheet
from edge_yolov9.doctor.statistics import MOST_THIN, SIZES, STRIDES, Statistics
from edge_yolov9.report.page import Block, Heading, Notice, Page, Picture, Table, Text

TITLES = {Level.ERROR: "Errors: every command refuses the data", Level.WARNING: "Warnings: errors with --strict"}


def page(examined: Examination) -> Page:
    """The whole page, with pictures."""
    report = examined.report
    blocks: list[Block] = [*_head(examined), *_splits(report), *_classes(report)]
    for one in report.splits:
        if one.objects:
            blocks.append(Picture(f"heat-{one.split}.png", charts.heat_map(one.heat), f"{one.split}: where boxes lie"))
    blocks += [*_sizes(report), *_coverage(report)]
    blocks.append(Heading("Findings"))
    if not list(examined.findings):
        blocks.append(Text("None."))
    for place, group in enumerate(examined.findings):
        blocks += _finding(place, group, examined)
    return blocks


def short(examined: Examination) -> Page:
    """What a terminal shows."""
    report = examined.report
    blocks = [*_splits(report), *_classes(report, drawn=False)]
    lines = tuple(f"{group.level.value}: {group}" for group in examined.findings)
    blocks.append(Notice("Findings", lines) if lines else Text("No finding."))
    return [*blocks, *_sizes(report, drawn=False), *_coverage(report)]


def _head(examined: Examination) -> list[Block]:
    blocks: list[Block] = [Heading(f"Data set {examined.report.data}", 1)]
    for level, title in TITLES.items():
        lines = tuple(str(group) for group in examined.findings if group.level is level)
        if lines:
            blocks.append(Notice(title, lines))
    return blocks


def _splits(report: Report) -> list[Block]:
    rows = {
        "images": [f"{one.images} of {one.listed}" for one in report.splits],
        "without objects": [str(one.empty) for one in report.splits],
        "objects": [str(one.objects) for one in report.splits],
        "crowd regions": [str(one.crowds) for one in report.splits],
        "objects per image": [str(one.objects_per_image or "-") for one in report.splits],
        "shorter side of boxes (px)": [str(one.box_side or "-") for one in report.splits],
        "image sizes (w x h)": [", ".join(f"{size}: {n}" for size, n in one.image_sizes) for one in report.splits],
        "width / height": [str(one.aspect or "-") for one in report.splits],
        "brightness (0 to 255)": [str(one.brightness or "-") for one in report.splits],
    }
    header = ("", *(one.split for one in report.splits))
    return [Heading("Splits"), Table(header, tuple((name, *cells) for name, cells in rows.items()))]


def _classes(report: Report, drawn: bool = True) -> list[Block]:
    header = ("class", *(f"{one.split}: {what}" for one in report.splits for what in ("objects", "images", *_names())))
    rows = tuple((name, *_class_cells(report.splits, place)) for place, name in enumerate(report.names))
    blocks: list[Block] = [Heading("Classes"), Table(header, rows)]
    if drawn:
        counts = [(name, [one.classes[i].objects for one in report.splits]) for i, name in enumerate(report.names)]
        drawing = charts.bars(counts, [one.split for one in report.splits])
        blocks.append(Picture("classes.svg", drawing, "objects of each class"))
        histograms = [one.brightness_histogram for one in report.splits]
        greys = [(f"{16 * i} to {16 * i + 15}", [own[i] for own in histograms]) for i in range(16)]
        drawing = charts.bars(greys, [one.split for one in report.splits])
        blocks.append(Picture("brightness.svg", drawing, "images by their mean grey"))
    return blocks


def _names() -> tuple[str, ...]:
    return tuple(name for name, _ in SIZES)


def _class_cells(splits: tuple[Statistics, ...], place: int) -> list[str]:
    counts = [one.classes[place] for one in splits]
    return [str(value) for own in counts for value in (own.objects, own.images, *own.sizes)]


def _sizes(report: Report, drawn: bool = True) -> list[Block]:
    if report.imgsz is None:
        return []
    rows = tuple((str(row.imgsz), *(f"{100 * share:.1f} %" for share in row.under)) for row in report.input_sizes)
    blocks: list[Block] = [
        Heading("Sizes against strides"),
        Table(("--imgsz", *(f"shorter side under {stride} px" for stride in STRIDES)), rows),
        Text(
            f"Recommended: --imgsz {report.imgsz}, the least at which at most {100 * MOST_THIN:.0f} % of the boxes are "
            f"thinner than the finest stride ({STRIDES[0]} px)."
        ),
    ]
    if drawn:
        shares = [(str(row.imgsz), [100 * share for share in row.under]) for row in report.input_sizes]
        drawing = charts.bars(shares, [f"under {stride} px" for stride in STRIDES], " %")
        blocks.insert(2, Picture("sizes.svg", drawing, "boxes whose shorter side is under a stride, by --imgsz"))
    return blocks


def _coverage(report: Report) -> list[Block]:
    covered = report.coverage
    if covered is None:
        return []
    lines = []
    if covered.missing:
        lines.append(
            f"val shows {covered.cells} pairs of class and size; train lacks {len(covered.missing)}: "
            + "; ".join(covered.missing[:12])
        )
    if covered.brightness_beyond:
        lines.append(f"{100 * covered.brightness_beyond:.1f} % of val's images are of a brightness that train lacks")
    if not lines:
        return [Text("Images of train, which calibrate INT8, show every class, size and brightness that val shows.")]
    return [Notice("Train, which calibrates INT8, does not cover val", tuple(lines))]


def _finding(place: int, group: Group, examined: Examination) -> list[Block]:
    blocks: list[Block] = [
        Heading(f"{group.split}: {group.count} x {group.kind}", 3),
        Text(f"{group.level.value}; {group.remedy}"),
        Text("; ".join(str(one) for one in group.first)),
    ]
    drawn = sheet(group, examined.records)
    if drawn is not None:
        blocks.append(Picture(f"finding-{place}.jpg", drawn, f"{group.kind}, {group.split}: what is meant is red"))
    return blocks
