"""``edge-yolov9 compile``."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.cli.common.data import strict_option
from edge_yolov9.cli.common.names import parse_names
from edge_yolov9.cli.common.output import check_writable, write_json
from edge_yolov9.cli.common.sizes import parse_size
from edge_yolov9.cli.common.targets import TARGET_HELP, WithTargetOptions, chosen_options, known_target
from edge_yolov9.cli.common.terminal import echo, echo_lines
from edge_yolov9.registry import PRECISIONS
from edge_yolov9.registry.extra import shared_extra

if TYPE_CHECKING:
    from edge_yolov9.bundle import Manifest
    from edge_yolov9.bundle.record import CompilationRecord


BLIND = (
    "the float model itself finds nothing on this data set (AP 0), so no drop can show; train it on, or check that "
    "DATA is what it was trained on"
)


@click.command(cls=WithTargetOptions)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="TARGET", callback=known_target, help=TARGET_HELP)
@click.option(
    "--device",
    metavar="BOARD",
    help="Board that the bundle is for; edge-yolov9 targets lists them. The first of TARGET when left out.",
)
@click.option(
    "--precision",
    type=click.Choice((*PRECISIONS, "auto")),
    help="Precision of the model, the board's default when left out; auto compiles and times each on this machine and "
    "takes the fastest.",
)
@click.option(
    "--imgsz",
    metavar="SIZE",
    callback=parse_size,
    help="Input size of the model, 640 or 384x640 (height x width); the checkpoint's when left out.",
)
@click.option(
    "--calibration",
    metavar="DATA|FOLDER|RECIPE=FOLDER",
    help="Images that calibrate INT8, and on which the bundle is compared with the float model; RECIPE is a file that "
    "calibration select wrote, or coco.",
)
@click.option("--calibration-images", default=128, show_default=True, help="Most images that calibrate INT8.")
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the draw of calibration images from DATA or FOLDER."
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set on whose val split AP is measured, of the float model and of the bundle; for INT8 the DATA of "
    "--calibration when left out.",
)
@click.option(
    "--names",
    metavar="A,B,C",
    callback=parse_names,
    help="Class names of a checkpoint that states none; those of --data or --calibration when left out.",
)
@click.option("--max-drop", default=1.0, show_default=True, help="Most AP points that the bundle may lose on --data.")
@click.option(
    "--fine-tuning",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="STEPS",
    help="Steps in which INT8 weights that lose too much are fine-tuned on the calibration images, without labels; "
    "0 for none.",
)
@strict_option
@click.option("--json", "json_file", metavar="FILE", help="File for a copy of the manifest; - for standard output.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder that becomes the bundle.")
def compile(checkpoint: Path, json_file: str | None, output: Path, **options: Any) -> None:
    """Turn CHECKPOINT into a bundle for one target.

    Prunes the auxiliary branch, folds BatchNorm and RepConv, quantizes, emits, and compares the emitted artifact with
    the float model. The bundle appears only if all of it succeeded.
    """
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary folders go
    from edge_yolov9.data.inputs import files_of

    inputs = (checkpoint, options["calibration"], options["data"])
    check_writable(json_file, lambda: (file for given in inputs for file in files_of(given)), new_bundle=output)
    try:
        from edge_yolov9.compiler import auto
        from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"compile needs {error.name}, which is not installed; on the machine that compiles, which need not be the "
            'device, run: pip install "edge-yolov9[compile]"'
        ) from error
    from edge_yolov9.scoring import delta

    options["input_size"] = options.pop("imgsz")
    options["target_options"] = chosen_options(options, options["target"])
    make = auto.compile_fastest if options["precision"] == "auto" else compile_checkpoint
    bundle = make(checkpoint, CompileOptions(**options), output, lambda line: echo(f"  {line}", err=True))
    if bundle.manifest.accuracy is not None:
        echo_lines(delta.of_manifest(bundle.manifest.accuracy).table(bundle.manifest.precision), err=True)
        if not bundle.manifest.accuracy["float"]["AP"]:
            echo(f"Warning: {BLIND}", err=True)
    echo(f"{output}: {verdict(bundle.manifest)}", err=json_file == "-")
    if bundle.manifest.compilation.auto is not None:
        echo(f"  {auto.verdict(bundle.manifest.compilation.auto)}", err=json_file == "-")
    if (npu := shared_extra(bundle).npu) is not None:
        echo(f"  {npu.line()}", err=json_file == "-")
    if json_file is not None:
        write_json({"bundle": str(output), "manifest": asdict(bundle.manifest)}, json_file)


def verdict(manifest: Manifest) -> str:
    """One line: what was made and how far it is from float."""
    boxes = manifest.parity["boxes"]
    worst = min(figures["sqnr_db"] for figures in manifest.parity["tensors"].values())
    text = f"{manifest.variant} {manifest.precision} for {manifest.target} ({manifest.board})"
    text += f", worst tensor {worst:.1f} dB"
    if boxes["float"]:
        text += f", {boxes['found_again']} of {boxes['float']} boxes found again"
    text += _float_layers(manifest.compilation)
    if manifest.accuracy is None:
        return text + ", AP not measured (add --data)"
    accuracy = manifest.accuracy
    before, after = accuracy["float"]["AP"], accuracy["artifact"]["AP"]
    lost = ", ".join(f"{name} loses {points:.1f} points" for name, points in accuracy["losing_classes"].items())
    return text + f", AP {before:.4f} -> {after:.4f} on {accuracy['data']}" + (f": {lost}" if lost else "")


def _float_layers(compilation: CompilationRecord) -> str:
    layers = len(compilation.plan.float_layers) if compilation.plan else 0
    if not layers:
        return ""
    latency = compilation.search.latency if compilation.search else None
    cost = latency.cost_percent if latency else None
    return f", {layers} convolutions left in float" + ("" if cost is None else f" ({cost:+.0f} % latency)")


def _terminate(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
