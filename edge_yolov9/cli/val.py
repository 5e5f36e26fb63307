"""``edge-yolov9 val``."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.cli.common.data import looking, strict_option
from edge_yolov9.cli.common.keys import key_option, refuse_key
from edge_yolov9.cli.common.output import check_writable, write_json
from edge_yolov9.cli.common.progress import image_progress
from edge_yolov9.cli.common.sizes import parse_size
from edge_yolov9.cli.common.targets import RUNTIME_HELP, known_target
from edge_yolov9.cli.common.terminal import echo, echo_lines


@click.command()
@click.argument("model", metavar="CHECKPOINT|BUNDLE", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="DATA file of the labelled images.")
@click.option("--split", default="val", show_default=True, help="Split of DATA that is scored.")
@click.option(
    "--imgsz",
    metavar="SIZE",
    callback=parse_size,
    help="Input size of a checkpoint, 640 or 384x640 (height x width); its own when left out.",
)
@click.option("--confidence", default=0.001, show_default=True, help="Least score of a detection.")
@click.option("--iou", default=0.7, show_default=True, help="Overlap above which the weaker box goes.")
@click.option("--max-detections", default=300, show_default=True, help="Most boxes per image.")
@click.option("--runtime", metavar="TARGET", callback=known_target, help=RUNTIME_HELP)
@key_option
@strict_option
@click.option("--json", "json_file", metavar="FILE", help="File for the figures; - for standard output.")
def val(
    model: Path,
    data: Path,
    split: str,
    imgsz: tuple[int, int] | None,
    confidence: float,
    iou: float,
    max_detections: int,
    runtime: str | None,
    key: str | None,
    strict: bool,
    json_file: str | None,
) -> None:
    """COCO AP of CHECKPOINT or BUNDLE on one split of DATA: the twelve figures, and each class.

    Letterbox, decode and evaluation are the same for checkpoints and bundles; every class above the threshold gets its
    own box (multi-label).

    --json: {model, kind, variant, target, precision, runtime, note, input_size [height, width], data, split, settings
    {confidence, iou, max_detections, multi_label}, AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl,
    images, classes [{name, AP, AP50, objects}]}; figures are in [0, 1], null where there is no such object.
    """
    from edge_yolov9.data.inputs import files_of
    from edge_yolov9.evaluation import evaluate

    check_writable(json_file, lambda: (model, *files_of(data)))
    if not model.is_dir():
        refuse_key(model, key)
    with image_progress(f"{split} of {data.name}") as advance:
        evaluation = evaluate(
            model,
            data,
            split=split,
            input_size=imgsz,
            confidence=confidence,
            iou=iou,
            max_detections=max_detections,
            runtime=runtime,
            key=key,
            strict=strict,
            progress=advance,
            looking=looking,
            report=lambda line: echo(line, err=True),
        )
    echo_lines(evaluation.accuracy.table(), err=json_file == "-")
    if json_file is not None:
        write_json(evaluation.as_dict(), json_file)
