"""A group of commands that imports each at its first use, and lists them by audience."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import click

Sections = Mapping[str, Mapping[str, str]]
"""Headings of a help text, each with its commands: a name and `module:attribute`."""

# docs/decisions.md#help-is-grouped-by-what-a-command-needs
TENANTS_AND_OPERATORS = "For tenants and operators"
OPERATORS = "For operators"
ON_THE_MACHINE = "For operators, on the machine of an installation"


class SectionedGroup(click.Group):
    """A group of lazily imported commands. `sections` are in the order of the help text."""

    def __init__(self, *args: Any, sections: Sections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections
        self._places = {name: place for commands in sections.values() for name, place in commands.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, in the order of the sections."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None when there is none of that name."""
        if cmd_name not in self._places:
            return None
        module, _, attribute = self._places[cmd_name].partition(":")
        # docs/decisions.md#modules-are-imported-at-first-use
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a word. Raises UsageError with the commands that may be meant."""
        word = args[0]
        if word not in self._places and not word.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = [repr(name) for name in get_close_matches(word, self._places)]
            hint = f"Did you mean {' or '.join(near)}?" if near else f"`{ctx.command_path} --help` lists the commands."
            raise click.UsageError(f"No such command {word!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, with the short help of every command."""
        width = max(map(len, self._places))
        for title, names in self.sections.items():
            commands = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{name:<{width}}", command.get_short_help_str(formatter.width - width - 6))
                        for name, command in commands
                        if command is not None
                    ]
                )


def walk(ctx: click.Context) -> Iterator[click.Context]:
    """A command and all below it, in the order of the help, each with its context."""
    yield ctx
    if isinstance(ctx.command, click.Group):
        for name in ctx.command.list_commands(ctx):
            command = ctx.command.get_command(ctx, name)
            assert command is not None
            yield from walk(click.Context(command, parent=ctx, info_name=name))
