"""``edge-yolov9 targets``."""

from __future__ import annotations

from typing import Any

import click

from edge_yolov9.cli.output import write_json


@click.command()
@click.option("--json", "json_file", metavar="FILE", help="Write the list there; - for standard output.")
def targets(json_file: str | None) -> None:
    """Targets and boards, and what works on this machine."""
    from edge_yolov9.errors import TargetError
    from edge_yolov9.registry import TARGETS, boards

    found: dict[str, Any] = {}
    unread = ""
    for name, target in TARGETS.items():
        try:
            profiles = boards(name)
        except TargetError as error:  # Python 3.10 without a TOML reader: the targets are still worth showing
            profiles, unread = {}, str(error)
        found[name] = {"title": target.title, "runtime": target.runtime, "extra": target.extra, "boards": profiles}
    if json_file != "-":
        for name, entry in found.items():
            _show(name, entry)
    if unread:
        click.echo(f"boards are not shown: {unread}", err=True)
    if json_file is not None:
        write_json(found, json_file)


def _show(name: str, entry: dict[str, Any]) -> None:
    works = f"works here ({entry['runtime']})"
    click.echo(f"{name:<10}{entry['title']:<40}{works if entry['runtime'] else 'runtime not installed here'}")
    for board, profile in entry["boards"].items():
        tested = ", ".join(profile["tested"]) or "untested"
        click.echo(f"  {board:<18}{profile['title']:<42}{'/'.join(profile['precisions'])}; {tested}")
