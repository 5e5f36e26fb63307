"""``edge-yolov9 report``: measure; and its subcommands ``score``, ``compare`` and ``table``."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.cli.common.data import looking, strict_option, tell
from edge_yolov9.cli.common.keys import key_option
from edge_yolov9.cli.common.output import check_writable
from edge_yolov9.cli.common.outputs import Outputs
from edge_yolov9.cli.common.progress import text_progress
from edge_yolov9.cli.common.sizes import parse_size
from edge_yolov9.cli.common.subcommands import WithSubcommands
from edge_yolov9.cli.common.targets import known_target
from edge_yolov9.errors import InputError

if TYPE_CHECKING:
    from edge_yolov9.report.run import Run

ENDINGS = ("html", "md", "json")
MODES = ("score", "compare", "model_table", "detections_only")
"""Options of the plain form, of which one can be chosen; three of them are subcommands now."""
TABLE_OPTIONS = ("imgsz", "target", "models")


path = click.Path(path_type=Path)
data_option = click.option("--data", type=path, help="DATA file of the images; with --detections-only also a folder.")
split_option = click.option("--split", default="val", show_default=True, help="Split of DATA whose images are scored.")
out_option = click.option("-o", "--out", type=path, help="Folder for the pages (HTML, Markdown) and the JSON.")
json_option = click.option(
    "--json", "json_file", metavar="FILE", help="File for a copy of the JSON; - for standard output."
)
size_option = click.option(
    "--imgsz", metavar="SIZE", callback=parse_size, help="Input size of models that are compiled; 640 when left out."
)
target_option = click.option(
    "--target",
    metavar="TARGET",
    callback=known_target,
    help="Target of models that are compiled; one that runs here when left out.",
)
models_option = click.option(
    "--models", metavar="LETTERS", help="Variants that are compiled and timed; tsmce when left out."
)


@click.command(cls=WithSubcommands)
@click.argument("paths", metavar="BUNDLE|FILE...", nargs=-1, type=path)
@data_option
@split_option
@strict_option
@out_option
@click.option("--seconds", default=60.0, show_default=True, help="Length of the sustained run, per bundle.")
@click.option("--detections-only", is_flag=True, help="Write detections.json; report score finishes elsewhere.")
@key_option
@click.option("--score", is_flag=True, hidden=True)
@click.option("--compare", is_flag=True, hidden=True)
@click.option("--model-table", is_flag=True, hidden=True)
@click.option("--imgsz", callback=parse_size, hidden=True)
@click.option("--target", callback=known_target, hidden=True)
@click.option("--models", hidden=True)
@json_option
def report(paths: tuple[Path, ...], out: Path | None, json_file: str | None, **options: Any) -> None:
    """Accuracy, latency, power, heat and footprint of BUNDLE on this machine, as a page to hand over.

    \b
    report BUNDLE... --data DATA -o FOLDER       measure; several become columns
    report FILE... -o FOLDER                     make the page again from report.json, where matplotlib is
    report BUNDLE --data DATA --detections-only -o FOLDER
    report score FILE --data DATA -o FOLDER      score a detections.json where the labels are
    report compare A.json B.json [-o FOLDER]     what changed beyond noise
    report table [BUNDLE|FILE...] [-o FOLDER]    the published family, counted and timed here

    Without --data accuracy is left out, and the report says that it is partial. What each figure means and the schema
    of report.json: docs/report.md.
    """
    check_writable(json_file, lambda: _inputs(paths, options["data"]))
    outputs = Outputs(out, json_file)
    chosen = [mode for mode in MODES if options[mode]]
    if len(chosen) > 1:
        raise InputError(f"choose one of {', '.join('--' + mode.replace('_', '-') for mode in chosen)}")
    _check_options(paths, options)
    if options["model_table"]:
        _table(paths, outputs, options)
    elif not paths:
        raise InputError("name a bundle, or a report.json; edge-yolov9 report --help lists what can be done")
    elif options["compare"]:
        _compare(paths, outputs)
    elif options["score"]:
        _score(paths, options["data"], options["split"], outputs, options["strict"])
    else:
        _measure_and_write(paths, outputs, options)


@report.subcommand
@click.command("score")
@click.argument("file", type=path)
@data_option
@split_option
@strict_option
@out_option
@json_option
def score(file: Path, data: Path | None, split: str, strict: bool, out: Path | None, json_file: str | None) -> None:
    """Score the detections.json FILE where labels and an evaluator are."""
    check_writable(json_file, lambda: _inputs((file,), data))
    _score((file,), data, split, Outputs(out, json_file), strict)


@report.subcommand
@click.command("compare")
@click.argument("paths", metavar="FIRST SECOND", nargs=-1, type=path)
@out_option
@json_option
def compare(paths: tuple[Path, ...], out: Path | None, json_file: str | None) -> None:
    """What changed beyond noise from one report.json to another."""
    check_writable(json_file, lambda: paths)
    _compare(paths, Outputs(out, json_file))


@report.subcommand
@click.command("table")
@click.argument("paths", metavar="[BUNDLE|FILE]...", nargs=-1, type=path)
@size_option
@target_option
@models_option
@key_option
@out_option
@json_option
def table(paths: tuple[Path, ...], out: Path | None, json_file: str | None, **options: Any) -> None:
    """Parameters, GFLOPs, size, latency here and published AP of T, S, M, C, E.

    Bundles and report.json files that are given become points beside the family; without any, models with random
    weights are compiled and timed.
    """
    check_writable(json_file, lambda: paths)
    _check_options(paths, {**options, "model_table": True, "data": None})
    _table(paths, Outputs(out, json_file), options)


def _check_options(paths: tuple[Path, ...], options: dict[str, Any]) -> None:
    """Refuse what would have no effect."""
    compiles = any(options[key] is not None for key in TABLE_OPTIONS)
    if not options["model_table"] and compiles:
        raise InputError("--imgsz, --target and --models are for --model-table")
    if options["model_table"] and paths and compiles:
        raise InputError(
            "--imgsz, --target and --models say what to compile; with bundles or reports nothing is compiled"
        )
    if options["data"] is None or not paths:
        return
    measures = options["score"] or any(not path.is_file() for path in paths)
    if options["compare"] or options["model_table"] or not measures:
        raise InputError("--data is for bundles that are measured, and for --score")


def _measure_and_write(paths: tuple[Path, ...], outputs: Outputs, options: dict[str, Any]) -> None:
    from edge_yolov9.report import run as runs

    if outputs.out is None:
        raise InputError("-o FOLDER is missing: where the report goes")
    if not 0 < options["seconds"] < float("inf"):
        raise InputError(f"--seconds must be positive, got {options['seconds']:g}")
    _exist(paths)
    alone = options["detections_only"]
    images = runs.image_set(options["data"], options["split"], alone, options["strict"], tell, looking)
    again = paths == (outputs.out / "report.json",)  # the page is made again beside its own report.json
    _interrupted_by_sigterm()
    names = ["detections.json"] if alone else ["report.html", "report.md", *(() if again else ["report.json"])]
    _make_folder(outputs.out, names, paths, options["data"])
    with text_progress() as progress:
        run = runs.measure_inputs(paths, images, alone, options["seconds"], progress, options["key"])
    _publish(run, outputs, outputs.out, alone, again)


def _score(paths: tuple[Path, ...], data: Path | None, split: str, outputs: Outputs, strict: bool) -> None:
    from edge_yolov9.report import run as runs

    if outputs.out is None:
        raise InputError("-o FOLDER is missing: where the report goes")
    _exist(paths)
    images = runs.image_set(data, split, False, strict, tell, looking)
    if images is None or len(paths) != 1:
        raise InputError("report score takes one detections.json and --data DATA")
    _make_folder(outputs.out, [f"report.{ending}" for ending in ENDINGS], paths, data)
    with text_progress() as progress:
        run = runs.score_detections(paths[0], images, progress)
    _publish(run, outputs, outputs.out)


def _publish(run: Run, outputs: Outputs, out: Path, detections_only: bool = False, again: bool = False) -> None:
    from edge_yolov9.report import publish, render
    from edge_yolov9.system.folders import turn

    document, sheets = run.finish(shlex.join(["edge-yolov9", *sys.argv[1:]]))
    outputs.write_json(document)
    if detections_only:
        publish.write_data(document, out, "detections.json", indent=None)
        outputs.say(f"{out / 'detections.json'}: score it with edge-yolov9 report score")
        return
    page = render.page(document, sheets)
    with turn(out):  # of two reports at the same time one is there whole
        for name, data in sheets.items():
            publish.write(out, name, data)
        publish.write_page(page, out)
        if not again:
            publish.write_data(document, out, "report.json")
    outputs.show(render.short(document))
    outputs.say(f"{out}: report.html, report.md, report.json")


def _compare(paths: tuple[Path, ...], outputs: Outputs) -> None:
    from edge_yolov9.report import compare, document, publish

    if len(paths) != 2:
        raise InputError(f"--compare takes two report.json, got {len(paths)}")
    pairs = compare.compare(document.read(paths[0]), document.read(paths[1]))
    names = (str(paths[0]), str(paths[1]))
    page, entry = compare.page(names, pairs), compare.entry(names, pairs)
    outputs.write_json(entry)
    if outputs.out is not None:
        _make_folder(outputs.out, [f"comparison.{ending}" for ending in ENDINGS], paths)
        publish.write_page(page, outputs.out, "comparison")
        publish.write_data(entry, outputs.out, "comparison.json")
    outputs.show(page)


def _table(paths: tuple[Path, ...], outputs: Outputs, options: dict[str, Any]) -> None:
    from edge_yolov9.cli.model_table import Request, model_table
    from edge_yolov9.report import family, publish

    _exist(paths)
    _interrupted_by_sigterm()
    if outputs.out is not None:
        _make_folder(outputs.out, [f"models.{ending}" for ending in ENDINGS], paths)
    request = Request(options["models"] or "tsmce", options["target"], options["imgsz"] or (640, 640), options["key"])
    with text_progress() as progress:
        made = model_table(paths, request, progress)
    page = family.page(made)
    outputs.write_json(made)
    if outputs.out is not None:
        publish.write_page(page, outputs.out, "models")
        publish.write_data(made, outputs.out, "models.json")
    outputs.show(page)


def _make_folder(out: Path, names: Sequence[str], paths: tuple[Path, ...], data: Path | None = None) -> None:
    """Make the folder for files of these names, of which none may be an input."""
    from edge_yolov9.outputs import make_folder
    from edge_yolov9.report.publish import FIGURES

    old = [f"figures/{file.name}" for file in out.glob("figures/*") if FIGURES.fullmatch(file.name)]
    make_folder("-o", out, [*names, *old], lambda: _inputs(paths, data))


def _inputs(paths: tuple[Path, ...], data: Path | None) -> Iterator[Path]:
    """Every file that the command reads."""
    from edge_yolov9.data.inputs import files_of

    yield from paths
    yield from files_of(data)


def _interrupted_by_sigterm() -> None:
    """SIGTERM is as Ctrl-C: the process that measures goes, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _exist(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if not path.exists():
            raise InputError(f"there is nothing at {path}; expected a bundle folder or a report.json")
