"""``--names``: class names on the command line."""

from __future__ import annotations

from pathlib import Path

import click


def parse_names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """``cat,dog``, or a file of one name per line, as a tuple; an option's callback."""
    if value is None:
        return None
    if "," not in value and Path(value).is_file():
        lines = Path(value).read_text(encoding="utf-8").splitlines()
    else:
        lines = value.split(",")
    names = tuple(name.strip() for name in lines if name.strip())
    if not names:
        raise click.BadParameter("expected class names with commas between them, or a file of one name per line")
    return names
