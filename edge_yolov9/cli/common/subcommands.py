"""A command that is a group, too: ``report BUNDLE`` beside ``report compare FIRST SECOND``."""

from __future__ import annotations

from typing import Any

import click


class WithSubcommands(click.Command):
    """A command whose first word may name another; whatever else comes first is the command's own.

    A file of such a name is given as ``./NAME``.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.commands: dict[str, click.Command] = {}

    def subcommand(self, command: click.Command) -> click.Command:
        """Add a subcommand under its name."""
        self.commands[str(command.name)] = command
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the subcommand that ``args`` begin with, else of this command."""
        if args and args[0] in self.commands:
            name = f"{info_name} {args[0]}"
            return self.commands[args[0]].make_context(name, args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands below the options."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(90)) for name, command in self.commands.items()])
