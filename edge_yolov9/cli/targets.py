"""``edge-yolov9 targets``."""

from __future__ import annotations

from typing import Any

import click

from edge_yolov9.cli._output import write_json
from edge_yolov9.cli._terminal import echo


@click.command()
@click.option("--device", metavar="BOARD", help="Explain one board.")
@click.option("--json", "json_file", metavar="FILE", help="Write the list there; - for standard output.")
def targets(device: str | None, json_file: str | None) -> None:
    """Targets and boards, and what works on this machine."""
    from edge_yolov9.errors import TargetError
    from edge_yolov9.registry import TARGETS, profiles

    found: dict[str, Any] = {}
    unread = ""
    for name, target in TARGETS.items():
        try:
            known = profiles(name)
        except TargetError as error:  # Python 3.10 without a TOML reader: the targets are still worth showing
            known, unread = {"boards": {}}, str(error)
        found[name] = {"title": target.title, "runtime": target.runtime, "extra": target.extra, **known}
    if device is not None:
        if unread:
            raise TargetError(unread)
        found = _only(found, device)
    if json_file != "-":
        for name, entry in found.items():
            _show(name, entry)
            if device is not None:
                _explain(entry, entry["boards"].get(device, {}))
    if unread:
        echo(f"boards are not shown: {unread}", err=True)
    if json_file is not None:
        write_json(found, json_file)


def _only(found: dict[str, Any], device: str) -> dict[str, Any]:
    """The targets that have a board of this name, with that board alone."""
    from edge_yolov9.errors import TargetError

    chosen = {
        name: {**entry, "boards": {device: entry["boards"][device]}}
        for name, entry in found.items()
        if device in entry["boards"]
    }
    if not chosen:
        known = ", ".join(board for entry in found.values() for board in entry["boards"])
        raise TargetError(f"unknown board {device!r}; expected one of {known}")
    return chosen


def _show(name: str, entry: dict[str, Any]) -> None:
    works = f"works here ({entry['runtime']})"
    echo(f"{name:<10}{entry['title']:<40}{works if entry['runtime'] else 'runtime not installed here'}")
    for board, profile in entry["boards"].items():
        tested = ", ".join(profile["tested"]) or "untested"
        echo(f"  {board:<18}{profile['title']:<42}{'/'.join(profile['precisions'])}; {tested}")


def _explain(entry: dict[str, Any], profile: dict[str, Any]) -> None:
    """Every line of a profile, and what the system releases that it names bring."""
    releases = entry.get("releases", {})
    for key, value in profile.items():
        if key == "jetpack":
            for release in value:
                brings = ", ".join(f"{part} {version}" for part, version in releases[release].items())
                echo(f"    {key:<20}{release}: {brings}")
        elif isinstance(value, dict):
            for part, text in value.items():
                echo(f"    {key:<20}{part}: {text}")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            echo(f"    {key:<20}{shown if shown != '' else 'none'}")
