"""The columns of the list of images, and those of them that fit a width: one line an image, which never folds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from msgspec import Struct

from phimage.cli.output import printable

GAP = 2
"""Spaces between columns."""
FEW_WIDTH = 24
"""Max characters of two names in a cell."""

Row = dict[str, Any]
"""An image with all that `phimage image show --json` has, its fields on one level."""


class Column(Struct, frozen=True):
    """A column. `text` is the whole value, `short` what a table shows of it.

    A column with `min_width` may be cut to that width; one with 0 never is. `mark`: its cells are marks.
    """

    name: str
    heading: str
    text: Callable[[Row], str]
    short: Callable[[Row], str] | None = None
    min_width: int = 0
    mark: bool = False


class ListMarks(Struct, frozen=True):
    """The characters that stand for something: those of UTF-8, or of ASCII."""

    stored: str
    cut: str


UNICODE = ListMarks("●", "…")
ASCII = ListMarks("*", "...")


class Fit(Struct, frozen=True):
    """The columns that fit a width, each with its own width, and those that do not."""

    widths: dict[str, int]
    dropped: tuple[Column, ...]


def encodable(text: str, encoding: str) -> str:
    """A text on one line, as it is shown: what would be control characters, or is not in the encoding, is escaped."""
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


def chosen(names: str) -> tuple[Column, ...]:
    """Columns by name, from a list with commas. Raises UsageError for an unknown name."""
    found = []
    for name in filter(None, map(str.strip, names.lower().split(","))):
        if name not in COLUMNS:
            raise click.UsageError(f"there is no column {name!r}; expected some of {', '.join(COLUMNS)}")
        found.append(COLUMNS[name])
    if not found:
        raise click.UsageError(f"--columns names no column; expected some of {', '.join(COLUMNS)}")
    return tuple(dict.fromkeys(found))


def cells_of(column: Column, rows: Sequence[Row], marks: ListMarks, encoding: str, *, short: bool) -> list[str]:
    """A column's cells as a table shows them."""
    value = column.short or column.text if short else column.text
    if column.mark:
        return [marks.stored if column.text(row) == "yes" else "" for row in rows]
    return [encodable(value(row), encoding) or "-" for row in rows]


# docs/decisions.md#a-list-of-images-drops-columns-and-never-folds
def fit(columns: Sequence[Column], priority: Sequence[Column], cells: dict[str, list[str]], width: int) -> Fit:
    """The columns that fit a width, by priority. The first one always does, at the width of its cells.

    Columns that may be cut have their minimum at first; then they get what is left, in order.
    """
    from rich.cells import cell_len

    whole = {column.name: max(map(cell_len, (column.heading, *cells[column.name])), default=0) for column in columns}
    least = {
        column.name: min(whole[column.name], max(len(column.heading), column.min_width))
        if column.min_width
        else whole[column.name]
        for column in columns
    }
    kept: set[str] = set()
    left = width + GAP
    for column in priority:
        if least[column.name] + GAP <= left or not kept:
            kept.add(column.name)
            left -= least[column.name] + GAP
    widths = {column.name: least[column.name] for column in columns if column.name in kept}
    for name in widths:
        more = max(0, min(left, whole[name] - widths[name]))
        widths[name] += more
        left -= more
    return Fit(widths, tuple(column for column in columns if column.name not in kept))


def lines_of(fitted: Fit, cells: dict[str, list[str]], marks: ListMarks) -> list[str]:
    """A line of headings, and a line for each row."""
    names = list(fitted.widths)
    headings = [COLUMNS[name].heading for name in names]
    table = [headings, *zip(*(cells[name] for name in names), strict=True)]
    return [_line(line, fitted.widths.values(), marks) for line in table]


def _line(line: Iterable[str], widths: Iterable[int], marks: ListMarks) -> str:
    return (" " * GAP).join(padded(text, width, marks) for text, width in zip(line, widths, strict=True)).rstrip()


def padded(text: str, width: int, marks: ListMarks) -> str:
    """A text of exactly a width, with the mark of a cut text at its end if it does not fit. Wide characters count twice."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return set_cell_size(text, width)
    cut = marks.cut[:width]
    kept = set_cell_size(text, width - len(cut))
    # Half of a wide character became a space, which the mark takes.
    return set_cell_size(kept.rstrip() + cut, width)


def _stored(row: Row) -> str:
    return "yes" if row.get("Disk") else "no"


def _time(seconds: str | int) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(seconds: str | int) -> str:
    return _time(seconds)[:10]


def _few(names: Sequence[str]) -> str:
    """The first name, the second if both are short, and the number of others: a table need not cut it."""
    shown = 2 if len(", ".join(names[:2])) <= FEW_WIDTH else 1
    return ", ".join(names[:shown]) + (f" +{len(names) - shown}" if len(names) > shown else "")


def _list(field: str) -> Callable[[Row], str]:
    return lambda row: ", ".join(row.get(field, ()))


def _deprecated(row: Row) -> str:
    at = row.get("DeprecationTime", 0)
    if row.get("Deprecated"):
        return f"since {_day(at)}" if at else "yes"
    return f"from {_day(at)}" if at else ""


def _labels(row: Row) -> str:
    return ", ".join(f"{key}={value}" if value else key for key, value in row.get("Labels", {}).items())


def _disk(field: str) -> Callable[[Row], str]:
    return lambda row: str((row.get("Disk") or {}).get(field, ""))


_ALL = (
    Column("id", "IMAGE ID", lambda row: row["ImageId"]),
    Column("bytes", "BYTES", _stored, mark=True),
    Column("type", "TYPE", lambda row: row["ImageType"]),
    Column("state", "STATE", lambda row: row["State"]),
    Column("created", "CREATED", lambda row: _time(row["CreateTime"]), lambda row: _day(row["CreateTime"])),
    Column("name", "NAME", lambda row: row["ImageName"], min_width=18),
    Column("version", "VERSION", lambda row: row["Version"], min_width=10),
    Column("size", "GB", lambda row: str(row["ImageSize"])),
    Column("support", "SUPPORT", _list("Support"), lambda row: _few(row["Support"]), min_width=16),
    Column("family", "FAMILY", lambda row: row.get("Family", ""), min_width=12),
    Column("os", "OS", lambda row: row["OsName"], min_width=12),
    Column("os-type", "OS TYPE", lambda row: row["OsType"], min_width=8),
    Column("zones", "ZONES", _list("Zones"), lambda row: _few(row.get("Zones", ())), min_width=12),
    Column("labels", "LABELS", _labels, min_width=12),
    Column("deprecated", "DEPRECATED", _deprecated),
    Column("successor", "SUCCESSOR", lambda row: row.get("Successor", "")),
    Column("project", "PROJECT", lambda row: row.get("ProjectId", "")),
    Column("disk", "DISK BYTES", _disk("Size")),
    Column("digest", "DIGEST", _disk("Digest"), min_width=14),
    Column("description", "DESCRIPTION", lambda row: row["ImageDescription"], min_width=12),
)

COLUMNS = {column.name: column for column in _ALL}
"""All columns by name, in the order of their description."""


def _named(names: str) -> tuple[Column, ...]:
    return tuple(COLUMNS[name] for name in names.split())


TABLE = _named("id bytes type state created name version size support")
"""What a table shows where it fits."""
PRIORITY = _named("id name state bytes created type version size support")
"""The same columns, those first that are kept longest."""
WIDE = _named("id bytes type state created name version size family os deprecated successor project disk labels zones support")
"""What `-o wide` and csv show."""
