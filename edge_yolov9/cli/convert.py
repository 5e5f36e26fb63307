"""``edge-yolov9 convert``."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.cli.common.names import parse_names
from edge_yolov9.cli.common.terminal import echo


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--names", metavar="A,B,C", callback=parse_names, help="Class names, in the place of the file's, or a file of them."
)
@click.option("--half", is_flag=True, help="Store the weights in half precision: half the size.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.safetensors")
def convert(checkpoint: Path, names: tuple[str, ...] | None, half: bool, output: Path) -> None:
    """Keep a checkpoint of another program as one of ours.

    Reads what Ultralytics, MIT YOLO, LibreYOLO and the published program write of a YOLOv9, runs nothing of it, and
    writes a .safetensors with the same weights, class names and what the file says of its training.
    """
    from dataclasses import replace

    from edge_yolov9.checkpoint import load, save
    from edge_yolov9.errors import CheckpointError
    from edge_yolov9.outputs import CHECKPOINT, check_file

    check_file("-o", output, lambda: [checkpoint], kind=CHECKPOINT)
    read = load(checkpoint, names)
    if names is not None and names != read.names:
        if len(names) != len(read.names):
            raise CheckpointError(f"{checkpoint} has {len(read.names)} classes, --names gives {len(names)}")
        read = replace(read, names=names)
    save(read, output, half)
    source = read.facts.get("source", {})
    program = " ".join(str(source[key]) for key in ("format", "version") if key in source) or "edge-yolov9"
    echo(f"{output}: {read.variant}, {len(read.names)} classes, from {checkpoint.name} ({program})")
    if why := source.get("names"):
        echo(f"  class names: {why}")
    if licence := read.facts.get("weights_licence"):
        echo(f"  licence of the weights: {licence}")
