"""``edge-yolov9 targets``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from edge_yolov9.cli.common.output import write_json
from edge_yolov9.cli.common.terminal import echo, echo_lines
from edge_yolov9.text import table


@click.command()
@click.option("--device", metavar="BOARD", help="Board to explain, alone.")
@click.option("--json", "json_file", metavar="FILE", help="File for the list; - for standard output.")
def targets(device: str | None, json_file: str | None) -> None:
    """Targets and boards, and what works on this machine.

    Installed packages may bring targets of their own (docs/adding-a-target.md); one that does not load is a line on
    standard error.
    """
    from edge_yolov9 import registry
    from edge_yolov9.errors import TargetError

    listed: dict[str, Any] = {}
    unread: list[str] = registry.collisions()
    for name in registry.names():
        try:
            target = registry.target(name)
        except TargetError as error:
            unread.append(str(error))
            continue
        entry: dict[str, Any] = {"title": target.title, "runtime": target.runtime, "extra": target.extra, "boards": {}}
        if fault := registry.runtime_fault(target):
            entry |= {"runtime": None, "fault": fault}
        if not target.built_in:
            entry["distribution"] = target.distribution
        listed[name] = entry
        try:
            known = registry.profiles(name)
        except TargetError as error:  # e.g. Python 3.10 without a TOML reader: the targets are still worth showing
            unread.append(f"boards are not shown: {error}")
            continue
        entry["boards"] = {board.name: dict(board.table) for board in known.boards.values()}
        if known.releases:
            entry["releases"] = known.releases
    if device is not None:
        listed = _only(listed, device, unread)
    if json_file != "-":
        rows = [(name, _rows(name, entry)) for name, entry in listed.items()]
        if device is None:
            echo_lines(table([row for _, part in rows for row in part], texts=3))
        for name, part in rows if device is not None else ():
            echo_lines(table(part, texts=3))
            echo_lines(table(_explained(listed[name], listed[name]["boards"].get(device, {})), texts=2))
    for line in dict.fromkeys(unread):
        echo(line, err=True)
    if json_file is not None:
        write_json(listed, json_file)


def _only(listed: dict[str, Any], device: str, unread: list[str]) -> dict[str, Any]:
    """The targets that have a board of this name, with that board alone."""
    from edge_yolov9.errors import TargetError

    chosen = {
        name: {**entry, "boards": {device: entry["boards"][device]}}
        for name, entry in listed.items()
        if device in entry["boards"]
    }
    if not chosen:
        known = ", ".join(board for entry in listed.values() for board in entry["boards"])
        raise TargetError(f"unknown board {device!r}; expected one of {known}" if known else unread[0])
    return chosen


def _rows(name: str, entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """A target and its boards: name, title, what works."""
    works = f"works here ({entry['runtime']})" if entry["runtime"] else "runtime not installed here"
    if "fault" in entry:
        works = f"installed, does not load: {entry['fault']}"
    brought = f", by {entry['distribution']}" if "distribution" in entry else ""
    rows = [(name, entry["title"], f"{works}{brought}")]
    for board, profile in entry["boards"].items():
        tested = ", ".join(profile["tested"]) or "untested"
        rows.append((f"  {board}", profile["title"], f"{'/'.join(profile['precisions'])}; {tested}"))
    return rows


def _explained(entry: Mapping[str, Any], profile: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every line of a profile, and what the system releases that it names bring."""
    releases = entry.get("releases", {})
    rows = []
    for key, value in profile.items():
        if isinstance(value, list) and value and all(str(item) in releases for item in value):
            for release in value:
                brings = ", ".join(f"{part} {version}" for part, version in releases[str(release)].items())
                rows.append((f"    {key}", f"{release}: {brings}"))
        elif isinstance(value, dict):
            for part, text in value.items():
                rows.append((f"    {key}", f"{part}: {text}"))
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            rows.append((f"    {key}", str(shown if shown != "" else "none")))
    return rows
