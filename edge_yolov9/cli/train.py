"""``edge-yolov9 train``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import click

from edge_yolov9.cli.common.data import strict_option
from edge_yolov9.train.settings import Settings

TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "int | None": int}
Command = Callable[..., Any]


def setting_options(command: Command) -> Command:
    """One option per setting; absent ones are None, so that what was said can be told from the defaults."""
    for setting in reversed(fields(Settings)):
        name, kind, text = setting.name.replace("_", "-"), str(setting.type), setting.metadata["help"]
        assert setting.default is not MISSING
        shown = "" if setting.default is None else f"  [default: {setting.default}]"
        text = f"{text.replace('``', '')}{shown}"
        if kind == "bool":
            option = click.option(f"--{name}/--no-{name}", setting.name, default=None, help=text)
        elif choices := setting.metadata["choices"]:
            option = click.option(f"--{name}", type=click.Choice(choices), help=text)
        else:
            option = click.option(f"--{name}", setting.name, type=TYPES[kind], help=text)
        command = option(command)
    return command


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="DATA file: YAML with train, val and names; labels as YOLO text or COCO JSON.",
)
@click.option("--out", type=click.Path(path_type=Path), help="New folder for the run.  [default: runs/MODEL]")
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the run to go on with.")
@click.option("--pretrained", type=click.Path(path_type=Path), metavar="CHECKPOINT", help="Weights to start from.")
@click.option(
    "--device", default="auto", show_default=True, help="Device to train on: auto, cpu, cuda or the number of a GPU."
)
@strict_option
@click.option(
    "--weights-licence", metavar="TEXT", help="Licence of the weights, kept in the checkpoint and its bundles."
)
@click.option("--data-licence", metavar="TEXT", help="Licence of the data, kept in the checkpoint and its bundles.")
@setting_options
def train(
    data: Path | None,
    out: Path | None,
    resume: Path | None,
    pretrained: Path | None,
    device: str,
    strict: bool,
    weights_licence: str | None,
    data_licence: str | None,
    **given: Any,
) -> None:
    """Train a detector.

    Several GPUs: torchrun --nproc-per-node N -m edge_yolov9 train ... Ctrl-C saves and ends; --resume DIR goes on.
    """
    from edge_yolov9.train.start import Request, start

    chosen = {name: value for name, value in given.items() if value is not None}
    stated = {"weights_licence": weights_licence, "data_licence": data_licence}
    licences = {part: text for part, text in stated.items() if text is not None}
    result = start(Request(data, out, resume, pretrained, device, strict, licences, chosen))
    if not result.finished:
        raise click.exceptions.Exit(130)
