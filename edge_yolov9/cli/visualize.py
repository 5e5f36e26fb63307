"""``edge-yolov9 visualize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_yolov9.cli.common.data import tell
from edge_yolov9.cli.common.terminal import echo, live

if TYPE_CHECKING:
    from edge_yolov9.train.check import Survey


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the pictures.")
@click.option("--model", default="yolov9-t", show_default=True, help="Variant: yolov9-t|s|m|c|e.")
@click.option(
    "--figure", type=click.Choice(["6", "7", "both"]), default="both", show_default=True, help="Figure of the paper."
)
@click.option(
    "--data", type=click.Path(path_type=Path), help="DATA file whose train split warms the model up for figure 7."
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Iterations of the warm-up before figure 7.",
)
@click.option("--imgsz", default=320, show_default=True, help="Side of the network input, pixels.")
@click.option("--batch", default=16, show_default=True, help="Images per iteration of the warm-up.")
@click.option("--seed", default=0, show_default=True, help="Seed of the weights and of the order of the images.")
@click.option(
    "--device", default="auto", show_default=True, help="Device to compute on: auto, cpu, cuda or the number of a GPU."
)
def visualize(
    image: Path,
    out: Path,
    model: str,
    figure: str,
    data: Path | None,
    iterations: int,
    imgsz: int,
    batch: int,
    seed: int,
    device: str,
) -> None:
    """The paper's figures 6 and 7, from any image: what deep networks keep of it.

    figure-6.png: feature maps of PlainNet, ResNet, CSPNet and GELAN with random weights at 50 to 200 layers.
    figure-7.png: feature maps of the neck of GELAN, and of GELAN + PGI, after a warm-up on --data.
    """
    from edge_yolov9.data.inputs import files_of
    from edge_yolov9.errors import InputError
    from edge_yolov9.images import read_image
    from edge_yolov9.outputs import make_folder
    from edge_yolov9.scoring.curves import load_matplotlib
    from edge_yolov9.train.distributed import joined
    from edge_yolov9.train.paper_figures import figure6, figure7
    from edge_yolov9.train.settings import Settings
    from edge_yolov9.variants import parse_name

    load_matplotlib()  # says what is missing before any work
    if figure != "6" and data is None:
        raise InputError("figure 7 warms the model up on labelled images: give --data, or ask for --figure 6 alone")
    parse_name(model)
    settings = Settings(model=model, imgsz=imgsz, batch=batch, nominal_batch=batch, seed=seed)
    frame = read_image(image)
    images, names = _training_images(data) if figure != "6" and data is not None else (None, 0)
    make_folder("-o", out, ("figure-6.png", "figure-7.png"), lambda: (image, *files_of(data)))
    with joined(device) as group:
        if figure != "7":
            _write(out, "figure-6.png", figure6(frame, model, imgsz, seed, group))
        if images is not None:
            drawn = figure7(frame, images, names, settings, iterations, group, live)
            _write(out, "figure-7.png", drawn)


def _training_images(data: Path) -> tuple[Survey, int]:
    """What the train split holds, and the number of classes."""
    from edge_yolov9.data import load_data
    from edge_yolov9.train.check import splits, survey

    dataset = load_data(data)
    found = survey(*splits(dataset))
    found.findings.settle(strict=False, tell=tell)
    return found, len(dataset.names)


def _write(out: Path, name: str, data: bytes) -> None:
    from edge_yolov9.errors import InputError
    from edge_yolov9.outputs import OwnFiles

    try:
        OwnFiles("-o", out).write(name, data)
    except OSError as error:
        raise InputError(f"cannot write {out / name}: {error.strerror or error}") from None
    echo(str(out / name))
