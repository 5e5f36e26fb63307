"""``edge-yolov9 report``."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.cli._output import check_writable, write_json
from edge_yolov9.cli._sizes import parse_size
from edge_yolov9.cli._targets import known_target
from edge_yolov9.cli._terminal import echo, echo_lines, live
from edge_yolov9.errors import InputError
from edge_yolov9.files import finite

if TYPE_CHECKING:
    from edge_yolov9.report.page import Page
    from edge_yolov9.report.run import Run

MODES = ("score", "compare", "model_table", "detections_only")


@click.command()
@click.argument("paths", metavar="BUNDLE|FILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), help="DATA file; with --detections-only also a folder.")
@click.option("--split", default="val", show_default=True, help="Which split of it.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for report.json, .html, .md.")
@click.option("--seconds", default=60.0, show_default=True, help="Length of the sustained run, per bundle.")
@click.option("--detections-only", is_flag=True, help="Write detections.json; --score finishes elsewhere.")
@click.option("--score", is_flag=True, help="Score the detections.json given as FILE.")
@click.option("--compare", is_flag=True, help="Compare two report.json: what changed beyond noise.")
@click.option("--model-table", is_flag=True, help="T S M C E: parameters, GFLOPs, size, latency here, published AP.")
@click.option("--imgsz", metavar="SIZE", callback=parse_size, help="--model-table: 640 when left out.")
@click.option("--target", metavar="TARGET", callback=known_target, help="--model-table: what runs here when left out.")
@click.option("--models", metavar="LETTERS", help="--model-table: which are compiled and timed; tsmce when left out.")
@click.option("--json", "json_file", metavar="FILE", help="Write the JSON there too; - for standard output.")
def report(paths: tuple[Path, ...], json_file: str | None, **options: Any) -> None:
    """Accuracy, latency, power, heat and footprint of BUNDLE on this machine, as a page to hand over.

    \b
    report BUNDLE... --data DATA -o FOLDER       measure; several become columns
    report FILE... -o FOLDER                     make the page again from report.json, where matplotlib is
    report BUNDLE --data DATA --detections-only -o FOLDER
    report --score FILE --data DATA -o FOLDER    score a detections.json where the labels are
    report --compare a.json b.json [-o FOLDER]
    report --model-table [BUNDLE...] [-o FOLDER]

    Without --data accuracy is left out, and the report says that it is partial. What each figure means and the schema
    of report.json: docs/report.md.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the process that measures goes too
    check_writable(json_file)
    chosen = [mode for mode in MODES if options[mode]]
    if len(chosen) > 1:
        raise InputError(f"choose one of {', '.join('--' + mode.replace('_', '-') for mode in chosen)}")
    _check_options(paths, options)
    if options["model_table"]:
        _model_table(paths, json_file, options)
    elif not paths:
        raise InputError("name a bundle, or a report.json; edge-yolov9 report --help lists what can be done")
    elif options["compare"]:
        _compare(paths, json_file, options["out"])
    else:
        _report(paths, json_file, options)


def _check_options(paths: tuple[Path, ...], options: dict[str, Any]) -> None:
    """Refuse what would have no effect."""
    if not options["model_table"] and any(options[key] is not None for key in ("imgsz", "target", "models")):
        raise InputError("--imgsz, --target and --models are for --model-table")
    if options["model_table"] and paths and any(options[key] is not None for key in ("imgsz", "target", "models")):
        raise InputError(
            "--imgsz, --target and --models say what to compile; with bundles or reports nothing is compiled"
        )
    measures = options["score"] or any(not path.is_file() for path in paths)
    if options["data"] is not None and paths and (options["compare"] or options["model_table"] or not measures):
        raise InputError("--data is for bundles that are measured, and for --score")


def _report(paths: tuple[Path, ...], json_file: str | None, options: dict[str, Any]) -> None:
    from edge_yolov9.report import publish
    from edge_yolov9.report import run as runs

    if options["out"] is None:
        raise InputError("-o FOLDER is missing: where the report goes")
    if not 0 < options["seconds"] < float("inf"):
        raise InputError(f"--seconds must be positive, got {options['seconds']:g}")
    _exist(paths)
    alone = options["detections_only"]
    found = runs.image_set(options["data"], options["split"], alone)
    out = publish.folder(options["out"])
    with _progress() as tell:
        if options["score"]:
            if found is None or len(paths) != 1:
                raise InputError("--score takes one detections.json and --data DATA")
            run = runs.score(paths[0], found, tell)
        else:
            run = runs.measure(paths, found, alone, options["seconds"], tell)
    _publish(run, out, json_file, alone)


def _publish(run: Run, out: Path, json_file: str | None, detections_only: bool) -> None:
    from edge_yolov9.report import publish, render

    made, sheets = run.finish(shlex.join(["edge-yolov9", *sys.argv[1:]]))
    if json_file is not None:
        write_json(finite(made), json_file)
    if detections_only:
        publish.write_data(made, out / "detections.json", indent=None)
        echo(f"{out / 'detections.json'}: score it with edge-yolov9 report --score", err=json_file == "-")
        return
    page = _page(lambda: render.page(made, sheets))
    for name, data in sheets.items():
        publish.write(out / name, data)
    publish.write_page(page, out)
    publish.write_data(made, out / "report.json")
    _say(render.short(made), json_file)
    echo(f"{out}: report.html, report.md, report.json", err=json_file == "-")


def _compare(paths: tuple[Path, ...], json_file: str | None, out: Path | None) -> None:
    from edge_yolov9.report import compare, document, publish

    if len(paths) != 2:
        raise InputError(f"--compare takes two report.json, got {len(paths)}")
    first, second = (document.read(path) for path in paths)

    def compared() -> tuple[Page, dict[str, Any]]:
        found = [(one, other, compare.changes(one, other)) for one, other in compare.pairs(first, second)]
        names = (str(paths[0]), str(paths[1]))
        rows = [
            {"first": one["label"], "second": other["label"], "changes": [change.as_dict() for change in changes]}
            for one, other, changes in found
        ]
        return compare.page(names, found), {"first": names[0], "second": names[1], "pairs": rows}

    page, data = _page(compared)
    if json_file is not None:
        write_json(finite(data), json_file)
    if out is not None:
        publish.folder(out)
        publish.write_page(page, out, "comparison")
        publish.write_data(data, out / "comparison.json")
    _say(page, json_file)


def _model_table(paths: tuple[Path, ...], json_file: str | None, options: dict[str, Any]) -> None:
    from edge_yolov9.cli import model_table as models
    from edge_yolov9.report import family, publish

    _exist(paths)
    out = None if options["out"] is None else publish.folder(options["out"])
    request = models.Request(options["models"] or "tsmce", options["target"], options["imgsz"] or (640, 640))
    with _progress() as tell:
        table = models.measure(paths, request, tell)
    page = family.page(table)
    if json_file is not None:
        write_json(finite(table), json_file)
    if out is not None:
        publish.write_page(page, out, "models")
        publish.write_data(table, out / "models.json")
    _say(page, json_file)


def _exist(paths: tuple[Path, ...]) -> None:
    for path in paths:
        if not path.exists():
            raise InputError(f"there is nothing at {path}; expected a bundle folder or a report.json")


def _page(make: Callable[[], Any]) -> Any:
    """A page of figures that came from a file: whatever is wrong in it is one line."""
    from edge_yolov9.report.document import malformed

    try:
        return make()
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, AssertionError) as error:
        raise malformed("the given report", error) from error


def _say(page: Page, json_file: str | None) -> None:
    from edge_yolov9.report.page import as_text

    echo_lines(as_text(page), err=json_file == "-")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """One line that is rewritten on a terminal; elsewhere a line per phase, counts left out."""
    on_terminal = sys.stderr.isatty()

    def tell(text: str) -> None:
        if on_terminal:
            live(text)
        elif " images of " not in text:
            echo(text, err=True)

    yield tell
    live("")
