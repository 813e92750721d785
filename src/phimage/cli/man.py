"""`phimage man`: the manual pages, written in the man macros of roff from what click has of each command."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path
from textwrap import dedent

import click

from phimage import __version__
from phimage.cli.exit_codes import EXIT_CODES, file_errors
from phimage.cli.output import echo, note
from phimage.cli.sections import SectionedGroup, walk

_FILES = (
    ("~/.config/phimage/config.toml", "Profiles with their keys, mode 0600; under XDG_CONFIG_HOME if that is set."),
    ("phimage-data", "Data folder of an installation, unless --data-dir or PHIMAGE_DATA_DIR names another one."),
)


@click.command(short_help="Print the manual page, or write all of them.")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False))
def man(folder: Path | None) -> None:
    """Print the manual page of phimage, or write into DIR a page for every command, such as phimage-image-ls.1.

    \b
    Examples:
      phimage man | man -l -
      phimage man /usr/local/share/man/man1 && man phimage-image-publish
    """
    root = click.get_current_context().find_root()
    contexts = walk(click.Context(root.command, info_name="phimage"))
    if folder is None:
        echo(page(next(contexts)).removesuffix("\n"))
        return
    count = 0
    with file_errors(folder, "choose a folder that can be written"):
        folder.mkdir(parents=True, exist_ok=True)
        for ctx in contexts:
            (folder / f"{_title(ctx)}.1").write_text(page(ctx), "utf-8")
            count += 1
    note(f"{count} pages are in {folder}; read one with: man -l {folder / 'phimage.1'}")


def page(ctx: click.Context) -> str:
    """The manual page of a command."""
    summary = ctx.command.get_short_help_str(200).removesuffix(".")
    usage = " ".join(ctx.command.collect_usage_pieces(ctx))
    lines = [
        f'.TH {_quoted(_title(ctx).upper())} 1 "" "phimage {_escaped(__version__)}" "User Commands"',
        *(".SH NAME", f"{_escaped(_title(ctx))} \\- {_escaped(summary)}"),
        *(".SH SYNOPSIS", f".B {_escaped(ctx.command_path)}", _escaped(usage)),
        ".SH DESCRIPTION",
    ]
    examples: list[str] = []
    for paragraph in cleandoc(ctx.command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            examples += _verbatim(paragraph)
        else:
            lines += [".PP", _text(" ".join(paragraph.split()))]
    lines += _commands(ctx)
    lines += _options(ctx)
    lines += [".SH EXAMPLES", *examples] if examples else []
    lines += _environment(ctx)
    lines += [".SH EXIT STATUS", *_list((str(code), meaning) for code, meaning in EXIT_CODES.items())]
    lines += [".SH FILES", *_list(_FILES)]
    lines += _see_also(ctx)
    return "\n".join(lines) + "\n"


def _title(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _verbatim(paragraph: str) -> Iterator[str]:
    """The lines of a paragraph that must not be filled, without its title."""
    yield ".nf"
    for line in dedent("\n".join(paragraph.split("\n")[2:])).split("\n"):
        yield _text(line) if line.strip() else ".sp"
    yield ".fi"


def _commands(ctx: click.Context) -> Iterator[str]:
    if not isinstance(ctx.command, click.Group):
        return
    yield ".SH COMMANDS"
    sections = ctx.command.sections if isinstance(ctx.command, SectionedGroup) else {"": ctx.command.list_commands(ctx)}
    for heading, names in sections.items():
        if heading:
            yield f".SS {_escaped(heading)}"
        found = ((name, ctx.command.get_command(ctx, name)) for name in names)
        yield from _list((name, command.get_short_help_str(200)) for name, command in found if command is not None)


def _options(ctx: click.Context) -> Iterator[str]:
    records = [one.get_help_record(ctx) for one in ctx.command.get_params(ctx) if isinstance(one, click.Option)]
    found = [record for record in records if record is not None]
    if found:
        yield ".SH OPTIONS"
        yield from _list(found)


def _environment(ctx: click.Context) -> Iterator[str]:
    variables = [
        (str(option.envvar), f"Value of {option.opts[-1]}, unless that is given.")
        for option in ctx.command.params
        if isinstance(option, click.Option) and option.envvar and not option.hidden
    ]
    if variables:
        yield ".SH ENVIRONMENT"
        yield from _list(variables)


def _see_also(ctx: click.Context) -> Iterator[str]:
    names = [_title(ctx.parent)] if ctx.parent else []
    if isinstance(ctx.command, click.Group):
        names += [f"{_title(ctx)}-{name}" for name in ctx.command.list_commands(ctx)]
    if names:
        yield ".SH SEE ALSO"
        yield ",\n".join(f".BR {_escaped(name)} (1)" for name in names).replace(",\n.", " ,\n.")


def _list(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, text in rows:
        yield from (".TP", f".B {_escaped(term)}", _text(" ".join(text.split())))


def _text(text: str) -> str:
    """A line that neither begins a request nor has an escape of its own."""
    line = _escaped(text.rstrip())
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _escaped(text: str) -> str:
    return re.sub(r"[\\\-]", lambda match: {"\\": "\\e", "-": "\\-"}[match[0]], text)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'
