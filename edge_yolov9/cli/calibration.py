"""``edge-yolov9 calibration``."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.cli.common.data import looking, strict_option, tell
from edge_yolov9.cli.common.terminal import echo


@click.group()
def calibration() -> None:
    """Make calibration recipes: lists of the images that calibrate INT8."""


@calibration.command()
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="DATA file of the labelled images to choose from."
)
@click.option(
    "--split",
    default="train",
    show_default=True,
    help="Split of DATA to choose from; not the one that AP is measured on.",
)
@click.option("-n", "--number", default=512, show_default=True, help="Choose at most this many images.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the order in which equally useful images are taken.",
)
@strict_option
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Recipe to write, NAME.toml.")
def select(data: Path, split: str, number: int, seed: int, strict: bool, output: Path) -> None:
    """Choose images that show every class and object size, dark and bright, nothing twice.

    Use it with: edge-yolov9 compile ... --calibration RECIPE=FOLDER
    """
    from edge_yolov9.compiler.calibration import recipe
    from edge_yolov9.compiler.calibration.selection import select as choose
    from edge_yolov9.data import read_data
    from edge_yolov9.data.inputs import files_of
    from edge_yolov9.outputs import RECIPE, check_file
    from edge_yolov9.scoring.accuracy import check_labelled

    check_file("-o", output, lambda: files_of(data), kind=RECIPE)
    images = read_data(data, (split,), strict=strict, tell=tell, progress=looking).splits[split]
    check_labelled(images, data)
    chosen, folder = choose(images, data.stem, number, seed)
    recipe.write(chosen, output)
    echo(f"{output}: {len(chosen.images)} images; use --calibration {output}={folder}")
