"""``edge-yolov9 data``."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.cli.common.data import strict_option
from edge_yolov9.cli.common.output import check_writable, write_json
from edge_yolov9.cli.common.progress import image_progress
from edge_yolov9.cli.common.terminal import echo, echo_lines

NAMES = ("data.html", "data.json", "pictures.json")


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for data.html, data.json and pictures.json.")
@strict_option
@click.option("--json", "json_file", metavar="FILE", help="File for the JSON; - for standard output.")
def data(data: Path, out: Path | None, strict: bool, json_file: str | None) -> None:
    """What is in DATA, and what is wrong with it.

    Counts for each split and class, sizes, brightness, and every finding that other commands warn of or refuse, with
    the first files. With -o: data.html, a page with pictures of each finding, a heat map of the boxes, sizes against
    strides and a recommendation for --imgsz; data.json; and pictures.json, by which a second run looks only at
    pictures that changed. The exit code is 1 where another command would refuse the data.

    --json: {data, names, splits, findings [{kind, level, split, count, remedy, first}], input_sizes, imgsz, coverage};
    docs/data.md says what each means.
    """
    from edge_yolov9.data.inputs import files_of
    from edge_yolov9.doctor.examine import examine
    from edge_yolov9.doctor.memory import Memory
    from edge_yolov9.doctor.page import page, short
    from edge_yolov9.files import finite
    from edge_yolov9.outputs import make_folder
    from edge_yolov9.report import publish
    from edge_yolov9.report.page import as_html, as_text

    check_writable(json_file, lambda: files_of(data))
    memory = Memory()
    if out is not None:
        make_folder("-o", out, NAMES, lambda: files_of(data))
        memory = Memory.read(out / "pictures.json")
    with image_progress("look at images") as advance:
        examined = examine(data, advance, memory.look)
    if out is not None:
        publish.write(out, "data.html", as_html(page(examined)).encode())
        publish.write_data(examined.report, out, "data.json")
        publish.write_data(memory.data(), out, "pictures.json", indent=None)
    if json_file is not None:
        write_json(finite(examined.report), json_file)
    echo_lines(as_text(short(examined)), err=json_file == "-")
    if out is not None:
        echo(f"{out}: {', '.join(NAMES)}", err=json_file == "-")
    examined.findings.settle(strict, lambda line: None)
