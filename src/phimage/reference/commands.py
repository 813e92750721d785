"""The page about the command line, generated from the commands."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from textwrap import dedent

import click

from phimage import cli
from phimage.cli import sections
from phimage.cli.profile import connecting
from phimage.reference.markdown import code, link, table

INTRODUCTION = """\
# Commands

Options may precede or follow arguments. `-h` and `--help` show the help of any command, `phimage --version` the version.
Exit codes and the form of errors are on the page [Exit codes](exit-codes.md).

"""

CONNECTION = """\
## Connection options

Options of every command that calls a server. A flag overrides its variable, a variable overrides the profile in
`~/.config/phimage/config.toml` (under `XDG_CONFIG_HOME` if that is set).

"""


def commands_page() -> str:
    """Every command with its usage, help and options."""
    commands = list(walk())
    overview = table(
        ("Command", "Description"),
        ((link(ctx.command_path), ctx.command.get_short_help_str(100)) for ctx in commands),
    )
    connection = CONNECTION + _options(_connection_context(), frozenset())
    names = frozenset(name for name, _ in _named(_connection_context()))
    return "\n".join([INTRODUCTION + overview, connection, *(_command(ctx, names) for ctx in commands)])


def walk() -> Iterator[click.Context]:
    """Every command in the order of the help, with its context."""
    return sections.walk(click.Context(cli.phimage, info_name="phimage"))


def options(ctx: click.Context) -> list[click.Option]:
    """The options of a command, without --help and --version."""
    return [option for _, option in _named(ctx)]


def _named(ctx: click.Context) -> list[tuple[str, click.Option]]:
    return [
        (option.name, option)
        for option in ctx.command.params
        if isinstance(option, click.Option) and option.name and not option.is_eager and not option.hidden
    ]


def _connection_context() -> click.Context:
    command = click.command("command")(connecting(lambda connect: None))
    return click.Context(command, info_name="command")


def _command(ctx: click.Context, connection: frozenset[str]) -> str:
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    parts = [f"## {ctx.command_path}\n", f"```\n{usage}\n```\n", *_help(ctx.command.help or "")]
    if isinstance(ctx.command, click.Group):
        return "\n".join(parts)
    names = {name for name, _ in _named(ctx)}
    shared = connection if connection <= names else frozenset()
    if names - shared:
        parts.append(_options(ctx, shared))
    if shared:
        parts.append(f"It {'also ' if names - shared else ''}takes the [connection options](#connection-options).\n")
    return "\n".join(parts)


def _help(text: str) -> Iterator[str]:
    """The paragraphs of a help text. One that must not be rewrapped becomes a code block under its first line."""
    for paragraph in cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            title, *lines = paragraph.split("\n")[1:]
            yield f"{title}\n"
            yield "```sh\n" + dedent("\n".join(lines)) + "\n```\n"
        else:
            yield " ".join(paragraph.split()) + "\n"


def _options(ctx: click.Context, without: frozenset[str]) -> str:
    return table(
        ("Option", "Variable", "Description"),
        (_option(option, ctx) for name, option in _named(ctx) if name not in without),
    )


def _option(option: click.Option, ctx: click.Context) -> tuple[str, str, str]:
    names, help_text = option.get_help_record(ctx) or ("", "")
    return code(names), code(str(option.envvar or "")), " ".join(help_text.split())
