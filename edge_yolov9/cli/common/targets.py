"""Targets as parameters of verbs. Installed packages are asked for theirs only where a name is not built in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from edge_yolov9 import registry
from edge_yolov9.cli.common.sizes import parse_size
from edge_yolov9.registry import TARGETS, Option, Target


def known_target(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The name of a target, as it is; None for none."""
    if value is not None and value not in TARGETS and value not in registry.names():
        raise click.BadParameter(f"{value!r} is not one of {', '.join(map(repr, registry.names()))}.")
    return value


TARGET_HELP = f"What will run the model: {', '.join(TARGETS)}, or the target of an installed package."

RUNTIME_HELP = "Another target's runtime ({}); the bundle's own when left out.".format(
    ", ".join(f"{row.name} runs bundles for {' and '.join(row.opens)}" for row in TARGETS.values() if row.opens)
)


class WithTargetOptions(click.Command):
    """A verb with ``--target`` that offers the options of the built-in targets, and those of the target it is for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, after ``--target`` was looked for: it decides what other options there are."""
        ctx.meta[_NAMED] = _named(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The verb's own parameters, and the targets'."""
        rows = _rows(ctx.meta.get(_NAMED))
        own = super().get_params(ctx)
        return [*own[:-1], *target_parameters(rows), own[-1]]  # --help stays last


_NAMED = "edge_yolov9.target"


def target_parameters(rows: Sequence[Target]) -> list[click.Parameter]:
    """``--preset`` and the options that targets add. The last row that has an option of a name decides what it is."""
    presets = [preset for row in rows for preset in row.presets]
    options = {option.name: _parameter(row, option) for row in rows for option in row.options}
    owners = ", ".join(f"{preset} ({row.name})" for row in rows for preset in row.presets)
    text = f"What another program needs, written beside the model: {owners}."
    return [*options.values(), click.Option(["--preset"], type=click.Choice(presets), help=text)]


def chosen_options(values: dict[str, Any], name: str) -> dict[str, object]:
    """Take what targets add out of a verb's values: those that were given."""
    names = dict.fromkeys(option.name for row in _rows(name) for option in row.options)
    taken = {key: values.pop(key) for key in names if key in values}
    return {key: value for key, value in taken.items() if value not in (None, False)}


def _parameter(row: Target, option: Option) -> click.Option:
    text = f"{row.name}: {option.help}"
    if option.kind == "flag":
        return click.Option([option.flag, option.name], is_flag=True, help=text)
    if option.kind == "size":
        return click.Option([option.flag, option.name], metavar="SIZE", callback=parse_size, help=text)
    kind = click.INT if option.kind == "whole" else click.STRING
    return click.Option([option.flag, option.name], type=kind, help=text)


def _rows(name: str | None) -> list[Target]:
    """The built-in targets, and the one of an installed package that is named."""
    if name is None or name in TARGETS or name not in registry.names():
        return list(TARGETS.values())
    return [*TARGETS.values(), registry.target(name)]


def _named(args: Sequence[str]) -> str | None:
    """What follows ``--target``, before click has read the line."""
    for index, word in enumerate(args):
        if word == "--target" and index + 1 < len(args):
            return args[index + 1]
        if word.startswith("--target="):
            return word.removeprefix("--target=")
    return None
