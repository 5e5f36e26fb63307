"""``edge-yolov9 sign``."""

from __future__ import annotations

from pathlib import Path

import click

from edge_yolov9.cli.common.terminal import echo


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--key", type=click.Path(path_type=Path), help="The secret key, of --new-key or of minisign -G -W.")
@click.option(
    "--new-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Make a new pair of keys: FILE, secret, and FILE.pub.",
)
def sign(bundle: Path | None, key: Path | None, new_key: Path | None) -> None:
    """Sign BUNDLE, in the form of minisign, so that a device can refuse any other.

    The device opens it with Detector(bundle, key="FILE.pub") or detect --key FILE.pub.
    """
    from edge_yolov9.bundle import read, signing
    from edge_yolov9.bundle.manifest import SIGNATURE
    from edge_yolov9.outputs import SIGNATURE as KIND
    from edge_yolov9.outputs import check_place, refuse_other_kind

    if new_key is not None and bundle is None and key is None:
        check_place("--new-key", new_key, new_key.parent)
        secret, public = signing.new_key(new_key)
        echo(f"{secret}: keep it secret; {public}: give it to the devices")
        return
    if bundle is None or key is None or new_key is not None:
        raise click.UsageError("expected BUNDLE --key FILE, or --new-key FILE alone")
    read(bundle)
    refuse_other_kind("the signature", bundle / SIGNATURE, KIND)
    echo(f"{signing.sign(bundle, key)}: signed")
