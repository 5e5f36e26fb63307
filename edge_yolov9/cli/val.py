"""``edge-yolov9 val``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.cli._output import check_writable, write_json
from edge_yolov9.cli._sizes import parse_size
from edge_yolov9.cli._targets import RUNTIME_HELP, known_target
from edge_yolov9.cli._terminal import echo, echo_lines
from edge_yolov9.errors import CheckpointError, InputError
from edge_yolov9.text import printable

if TYPE_CHECKING:
    from edge_yolov9.decode import DecodeOptions
    from edge_yolov9.scoring.accuracy import Detect


@click.command()
@click.argument("model", metavar="CHECKPOINT|BUNDLE", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="DATA file.")
@click.option("--split", default="val", show_default=True, help="Which split of it.")
@click.option("--imgsz", metavar="SIZE", callback=parse_size, help="640 or 384x640; checkpoints only, else theirs.")
@click.option("--confidence", default=0.001, show_default=True, help="Least score.")
@click.option("--iou", default=0.7, show_default=True, help="Overlap above which the weaker box goes.")
@click.option("--max-detections", default=300, show_default=True, help="Most boxes per image.")
@click.option("--runtime", metavar="TARGET", callback=known_target, help=RUNTIME_HELP)
@click.option("--json", "json_file", metavar="FILE", help="Write the figures there; - for standard output.")
def val(
    model: Path,
    data: Path,
    split: str,
    imgsz: tuple[int, int] | None,
    confidence: float,
    iou: float,
    max_detections: int,
    runtime: str | None,
    json_file: str | None,
) -> None:
    """COCO AP of CHECKPOINT or BUNDLE on one split of DATA: the twelve figures, and each class.

    Letterbox, decode and evaluation are the same for checkpoints and bundles; every class above the threshold gets its
    own box (multi-label).

    --json: {model, kind, variant, target, precision, runtime, note, input_size [height, width], data, split, settings
    {confidence, iou, max_detections, multi_label}, AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl,
    images, classes [{name, AP, AP50, objects}]}; figures are in [0, 1], null where there is no such object.
    """
    check_writable(json_file)
    from edge_yolov9.data import load_data
    from edge_yolov9.detector import checked_options
    from edge_yolov9.scoring.accuracy import score

    options = checked_options(confidence, iou, max_detections, multi_label=True)
    images = load_data(data).split(split)
    with _opened(model, options, imgsz, runtime) as (detect, names, facts):
        if facts["note"]:
            echo(f"Note: {facts['note']}", err=True)
        with click.progressbar(length=len(images), label=printable(f"{split} of {data.name}"), file=sys.stderr) as bar:
            accuracy = score(detect, images, names, lambda done, total: bar.update(1))
    facts |= {"data": str(data), "split": split, "settings": asdict(options)}
    echo_lines(accuracy.table(), err=json_file == "-")
    if json_file is not None:
        write_json({"model": str(model), **facts, **accuracy.as_dict()}, json_file)


Opened = tuple["Detect", tuple[str, ...], dict[str, Any]]


@contextmanager
def _opened(
    model: Path, options: DecodeOptions, imgsz: tuple[int, int] | None, runtime: str | None
) -> Iterator[Opened]:
    """(detector, its classes, what the JSON says about it)."""
    if model.is_dir():
        if imgsz is not None:
            raise InputError("--imgsz is for checkpoints; a bundle has the size it was compiled for")
        from edge_yolov9.bundle import read
        from edge_yolov9.detector import Detector

        bundle = read(model)
        manifest = bundle.manifest
        runtime, note = _runtime(manifest.target, runtime)
        with Detector(bundle, runtime=runtime, **asdict(options)) as detector:
            yield (
                detector,
                detector.names,
                {
                    "kind": "bundle",
                    "variant": manifest.variant,
                    "target": manifest.target,
                    "precision": manifest.precision,
                    "runtime": runtime or manifest.target,
                    "note": note or detector.note or None,
                    "input_size": list(detector.input_size),
                },
            )
        return
    if runtime is not None:
        raise InputError("--runtime is for bundles; a checkpoint runs in PyTorch")
    if not model.exists():
        raise CheckpointError(f"nothing at {model}; expected a checkpoint file or a bundle folder")
    from edge_yolov9.checkpoint import load
    from edge_yolov9.compiler.reference import checkpoint_detector

    checkpoint = load(model)
    yield (
        checkpoint_detector(checkpoint, imgsz, options),
        checkpoint.names,
        {
            "kind": "checkpoint",
            "variant": checkpoint.variant,
            "target": None,
            "precision": "fp32",
            "runtime": "torch",
            "note": None,
            "input_size": list(imgsz or checkpoint.input_size),
        },
    )


def _runtime(target: str, runtime: str | None) -> tuple[str | None, str | None]:
    """The runtime to take, and a note where it is a stand-in, because the target's own is absent."""
    from edge_yolov9 import registry

    own = registry.target(target)
    if runtime is not None or own.stand_in is None or own.runtime is not None:
        return runtime, None
    other = registry.target(own.stand_in)
    absent = f"the {own.name} runtime ({' or '.join(own.runtimes)}) is not installed here"
    return other.name, f"{absent}: the bundle is measured by the target {other.name} ({other.title}) instead"
