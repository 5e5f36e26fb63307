"""``edge-yolov9 compile``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.cli._output import check_writable, write_json
from edge_yolov9.cli._sizes import parse_size
from edge_yolov9.cli._targets import TARGET_HELP, WithTargetOptions, chosen_options, known_target
from edge_yolov9.cli._terminal import echo, echo_lines
from edge_yolov9.registry import PRECISIONS

if TYPE_CHECKING:
    from edge_yolov9.bundle import Manifest


@click.command(cls=WithTargetOptions)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--target", required=True, metavar="TARGET", callback=known_target, help=TARGET_HELP)
@click.option("--device", metavar="BOARD", help="Board; edge-yolov9 targets lists them. The first when left out.")
@click.option(
    "--precision",
    type=click.Choice((*PRECISIONS, "auto")),
    help="The board's default when left out; auto measures each on this machine and takes the fastest.",
)
@click.option("--imgsz", metavar="SIZE", callback=parse_size, help="640 or 384x640; the checkpoint's when left out.")
@click.option(
    "--calibration",
    metavar="DATA|FOLDER|RECIPE=FOLDER",
    help="Images that calibrate INT8 and that a bundle is checked on; RECIPE is a file of calibration select, or coco.",
)
@click.option("--calibration-images", default=128, show_default=True, help="How many of them.")
@click.option("--seed", default=0, show_default=True, help="Of the draw of calibration images.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Measure AP on its val split, before and after; the DATA of --calibration when left out.",
)
@click.option("--max-drop", default=1.0, show_default=True, help="Most AP points that may be lost on --data.")
@click.option(
    "--fine-tuning",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="STEPS",
    help="Of INT8 weights on the calibration images, without labels, where too much is lost; 0 for none.",
)
@click.option("--json", "json_file", metavar="FILE", help="Write the manifest there too; - for standard output.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the bundle.")
def compile(checkpoint: Path, json_file: str | None, output: Path, **options: Any) -> None:
    """Turn CHECKPOINT into a bundle for one target.

    Prunes the auxiliary branch, folds BatchNorm and RepConv, quantizes, emits, and compares the emitted artifact with
    the float model. The bundle appears only if all of it succeeded.
    """
    signal.signal(signal.SIGTERM, _terminate)  # so that temporary folders go
    from edge_yolov9.data.inputs import files_of

    inputs = (checkpoint, options["calibration"], options["data"])
    check_writable(json_file, lambda: (file for given in inputs for file in files_of(given)), new_bundle=output)
    from edge_yolov9.compiler import auto
    from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
    from edge_yolov9.scoring import delta

    options["input_size"] = options.pop("imgsz")
    options["target_options"] = chosen_options(options, options["target"])
    make = auto.compile_fastest if options["precision"] == "auto" else compile_checkpoint
    bundle = make(checkpoint, CompileOptions(**options), output, lambda line: echo(f"  {line}", err=True))
    if bundle.manifest.accuracy is not None:
        echo_lines(delta.of_manifest(bundle.manifest.accuracy).table(bundle.manifest.precision), err=True)
    echo(f"{output}: {verdict(bundle.manifest)}", err=json_file == "-")
    if "auto" in bundle.manifest.extra:
        echo(f"  {auto.verdict(bundle.manifest.extra['auto'])}", err=json_file == "-")
    if "npu" in bundle.manifest.extra:
        echo(f"  {npu_line(bundle.manifest.extra['npu'])}", err=json_file == "-")
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
    text += _float_layers(manifest.extra)
    if manifest.accuracy is None:
        return text + ", AP not measured (add --data)"
    accuracy = manifest.accuracy
    before, after = accuracy["float"]["AP"], accuracy["artifact"]["AP"]
    lost = ", ".join(f"{name} loses {points:.1f} points" for name, points in accuracy["losing_classes"].items())
    return text + f", AP {before:.4f} -> {after:.4f} on {accuracy['data']}" + (f": {lost}" if lost else "")


def _float_layers(extra: Mapping[str, Any]) -> str:
    layers = len(extra.get("plan", {}).get("float_layers", ()))
    if not layers:
        return ""
    cost = extra.get("search", {}).get("latency", {}).get("cost_percent")
    return f", {layers} convolutions left in float" + ("" if cost is None else f" ({cost:+.0f} % latency)")


def npu_line(npu: Mapping[str, Any]) -> str:
    """One line: what an NPU's compiler said, or what is left to do."""
    (place, good), (_, bad) = npu["operators"].items()
    text = f"{good} of {good + bad} operators {'on the NPU' if place == 'npu' else 'on the published list'}"
    others = npu.get("on_cpu") or npu.get("unlisted")
    if others:
        text += f" (the CPU runs {', '.join(f'{times} {name}' for name, times in others.items())})"
    if "command" in npu:
        return f"untested, not compiled for its NPU: run {npu['command']}; {text}"
    memory = ", ".join(f"{size / 1024:.1f} MiB {name}" for name, size in npu["memory_kib"].items() if size)
    text += f", {npu['estimated_ms']:.1f} ms at {npu['clock_mhz']} MHz and {memory} by vela's estimate"
    return f"{npu['accelerator']}, {npu['compiler']}: {text}"


def _terminate(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
