"""``--names``: class names on the command line."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.files import read_regular

LARGEST = 1 << 24
"""Bytes of a file of names."""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long
        return False


def parse_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """``cat,dog``, or a file of one name per line, as a tuple; an option's callback."""
    if value is None:
        return None
    if "," not in value and _is_file(Path(value)):
        try:
            lines = read_regular(Path(value), LARGEST).decode("utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise click.BadParameter(f"cannot read {value}: {getattr(error, 'strerror', None) or error}") from None
    else:
        lines = value.split(",")
    names = tuple(name.strip() for name in lines if name.strip())
    if not names:
        raise click.BadParameter("expected class names with commas between them, or a file of one name per line")
    return names
