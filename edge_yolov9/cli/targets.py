"""``edge-yolov9 targets``."""

from __future__ import annotations

from typing import Any

import click

from edge_yolov9.cli.output import write_json


@click.command()
@click.option("--json", "json_file", metavar="FILE", help="Write the list there; - for standard output.")
def targets(json_file: str | None) -> None:
    """Targets and boards, and what works on this machine."""
    from edge_yolov9.registry import TARGETS, boards

    found: dict[str, Any] = {}
    for name, target in TARGETS.items():
        runtime = target.runtime
        found[name] = {"title": target.title, "runtime": runtime, "extra": target.extra, "boards": boards(name)}
        if json_file == "-":
            continue
        state = f"works here ({runtime})" if runtime else f'not here: pip install "edge-yolov9[{target.extra}]"'
        click.echo(f"{name:<10}{target.title:<40}{state}")
        for board, profile in found[name]["boards"].items():
            tested = ", ".join(profile["tested"]) or "untested"
            click.echo(f"  {board:<18}{profile['title']:<42}{'/'.join(profile['precisions'])}; {tested}")
    if json_file is not None:
        write_json(found, json_file)
