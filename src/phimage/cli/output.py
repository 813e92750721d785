"""Output of commands: tables for people, JSON for programs. Texts are shown with escaped control characters.

Rich takes a tenth of a second to import, so only functions that draw import it; the list of images does without.
"""

from __future__ import annotations

import codecs
import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from phimage.control_characters import escape, escape_json

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])
Marks = TypeVar("Marks")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

PIPE_WIDTH = 200
"""Width of a table in a file or a pipe."""
_UNKNOWN_WIDTH = 80
_PLAIN_TERMINALS = ("dumb", "unknown")


def print_json(value: object, *, indented: bool = True, err: bool = False) -> None:
    """Print a value as JSON, indented or on one line."""
    encoded = msgspec.json.encode(value)
    click.echo(escape_json((msgspec.json.format(encoded, indent=2) if indented else encoded).decode()), err=err)


def echo(text: str = "", *, err: bool = False) -> None:
    """Print lines for people: tabs and line feeds stay, other control characters are escaped."""
    click.echo(escape(text, lines=True), err=err)


def printable(text: str) -> str:
    """A text of another origin, on one line: a line feed in it begins no line that looks like one of phimage."""
    return escape(text)


def minute(seconds: str | float) -> str:
    """A time, in Unix seconds, for people."""
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M UTC")


def console() -> Console:
    """A console on standard output, as wide as the terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, markup=False, emoji=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: int = 1, empty: str = "none") -> None:
    """Print rows under headings. The first `whole` columns never fold; the others fold to fit the terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(columns):
        table.add_column(column, no_wrap=position < whole, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell, lines=True) for cell in row))  # a line feed stays within its column
    if table.row_count:
        console().print(table)
    else:
        echo(empty)


def output_encoding() -> str:
    """The encoding of standard output."""
    return sys.stdout.encoding or "utf-8"


# docs/decisions.md#marks-are-outside-ascii-in-unicode-alone
def marks_for(encoding: str, unicode: Marks, ascii: Marks) -> Marks:
    """Those of two sets of marks that an output shows, each of its characters in one column."""
    return unicode if codecs.lookup(encoding).name.startswith("utf") else ascii


def print_heading(line: str) -> None:
    """Print a line in bold, if the output is a terminal, of any length."""
    is_plain = os.environ.get("TERM", "") in _PLAIN_TERMINALS
    click.echo(escape(line) if is_plain else click.style(escape(line), bold=True))


def output_width() -> int:
    """The width of standard output: that of the terminal, otherwise PIPE_WIDTH."""
    if not sys.stdout.isatty():
        return PIPE_WIDTH
    with suppress(ValueError, OSError):
        if (width := int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.stdout.fileno()).columns)) > 0:
            return width
    return _UNKNOWN_WIDTH


FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The beginnings of what a spreadsheet takes for a formula, also in full width."""


# docs/decisions.md#a-cell-of-csv-is-never-a-formula
def print_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows as csv (RFC 4180), with a header. A cell that begins like a formula has an apostrophe before it."""
    lines = StringIO(newline="")
    writer = csv.writer(lines)
    for row in (columns, *rows):
        cells = map(escape, row)
        writer.writerow([f"'{cell}" if cell.startswith(FORMULAS) else cell for cell in cells])
    click.echo(lines.getvalue(), nl=False)


def note(text: str) -> None:
    """Print a line on standard error, beside the result."""
    echo(text, err=True)


def working(text: str) -> AbstractContextManager[object]:
    """Show a spinner on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)


@contextmanager
def steps(doing: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on standard error, if that is a terminal. Yields a function of the current item, its count and the total."""
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn(doing), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=None)

        def step(what: str, done: int, of: int) -> None:
            shown.update(task, description=printable(what), completed=done, total=of)

        yield step
