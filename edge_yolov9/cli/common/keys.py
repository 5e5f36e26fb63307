"""The option of every verb that opens bundles: whose signature they must have."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.errors import InputError

VARIABLE = "EDGE_YOLOV9_KEY"

HELP = (
    f"Public key that must have signed every bundle: its file, or the line in it that begins with RW. ${VARIABLE} else."
)

key_option = click.option("--key", envvar=VARIABLE, metavar="KEY", help=HELP)


def refuse_key(model: Path, key: str | None) -> None:
    """Say that a checkpoint has no signature, rather than open it as if it had been checked.

    Raises:
        InputError: there is a key.
    """
    if key is not None:
        raise InputError(f"{model} is no bundle, and only bundles are signed; leave out --key and unset {VARIABLE}")
