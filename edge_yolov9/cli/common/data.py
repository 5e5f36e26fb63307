"""What every verb that reads a data set shares."""

from __future__ import annotations

import click

from edge_yolov9.cli.common.terminal import echo, live

strict_option = click.option(
    "--strict", is_flag=True, help="Refuse data that has any problem; otherwise each is a warning where there is a way."
)


def tell(line: str) -> None:
    """Print what a person must know of the data."""
    echo(line, err=True)


def looking(done: int, total: int) -> None:
    """Show on a terminal how many images were looked at."""
    live("" if done == total else f"looked at {done} of {total} images")
