"""``edge-yolov9 verify``."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.cli.common.keys import key_option
from edge_yolov9.cli.common.terminal import echo


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@key_option
def verify(bundle: Path, key: str | None) -> None:
    """Check that BUNDLE is whole, unchanged and signed by a key; exit code 1 when it is not."""
    from edge_yolov9.bundle import read

    if key is None:
        raise click.UsageError("expected BUNDLE --key FILE.pub")
    read(bundle, key=key)
    echo(f"{bundle}: signed by this key, every file as it was signed")
