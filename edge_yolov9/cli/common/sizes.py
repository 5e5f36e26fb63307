"""Sizes at the command line."""

from __future__ import annotations

import click


def parse_size(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``640`` or ``384x640`` (height x width) -> (height, width)."""
    if value is None:
        return None
    sides = value.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise click.BadParameter(f"expected a size like 640 or 384x640 (height x width), got {value!r}")
    return int(sides[0]), int(sides[-1])
