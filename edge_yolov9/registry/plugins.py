"""Targets of other packages: an installed distribution names its row by an entry point.

    [project.entry-points."edge_yolov9.targets"]
    NAME = "package:ROW"

Lists are made from the metadata of the installed packages; a package is imported when its target is asked for by name.
A bundle says a target's name and nothing else: what is imported for it is the entry point's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from edge_yolov9.errors import TargetError
from edge_yolov9.files import from_json
from edge_yolov9.registry.rows import TARGETS, Target
from edge_yolov9.text import shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "edge_yolov9.targets"

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def declared() -> dict[str, list[EntryPoint]]:
    """The entry points of installed packages by the target's name; several where packages collide."""
    from importlib.metadata import entry_points  # takes 15 ms, which an own target does without

    by_name: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        by_name.setdefault(entry.name, []).append(entry)
    return dict(sorted(by_name.items()))


def names() -> list[str]:
    """Names of the targets that installed packages declare, without those of built-in targets."""
    return [name for name in declared() if name not in TARGETS]


def collisions() -> list[str]:
    """A line for each package that takes the name of a built-in target, which stays what it is."""
    return [
        f"{_whose(entries)}: the name {name} of its target is edge-yolov9's own; the package's target is left out"
        for name, entries in declared().items()
        if name in TARGETS
    ]


@cache
def row(name: str) -> Target:
    """The row of a target that an installed package declares.

    Raises:
        TargetError: several packages declare the name, or the package's row cannot be used; the line names it.
        KeyError: no package declares it.
    """
    entries = declared()[name]
    whose = _whose(entries)
    if len(entries) > 1:
        raise TargetError(f"the target {name} is declared by {whose}; uninstall all but one of them")
    if not NAME.fullmatch(name):
        raise TargetError(f"{whose}: {name!r} is no name for a target; expected small letters, digits, - and _")
    with naming(f"the target {name} of {whose} does not load"):
        given = entries[0].load()
        if not isinstance(given, Target):
            raise TypeError(f"{entries[0].value} is {shown(given)}, expected an edge_yolov9.registry.Target")
        package = given.package or _package(entries[0])
        checked = from_json(Target, vars(given) | {"options": [vars(option) for option in given.options]}, "its row")
        if checked.name != name:
            raise ValueError(f"its row is named {checked.name!r}; expected the name of the entry point")
        return replace(checked, package=package, distribution=whose)


def _package(entry: EntryPoint) -> str:
    import sys

    return str(sys.modules[entry.module].__package__)


def _whose(entries: Sequence[EntryPoint]) -> str:
    """Names and versions of the distributions."""
    parts = [entry.dist for entry in entries]
    return " and ".join(f"{part.name} {part.version}" if part else "an unnamed package" for part in parts)


@contextmanager
def naming(what: str, passing: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Whatever foreign code raises becomes a TargetError of one line that begins with ``what``.

    Args:
        what: what fails, with the name of the package that is to blame.
        passing: errors that go through as they are.

    Raises:
        TargetError: anything else was raised, but Ctrl-C.
    """
    try:
        yield
    except passing:
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:300]
        raise TargetError(f"{what}: {type(error).__name__}" + (f": {reason}" if reason else "")) from error
