"""Markdown for the reference pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from phimage.gateway.describe import FieldText

_PATTERN = re.compile(r"like (\S+)")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str = "None.") -> str:
    """A table, or the text for an empty one."""
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    if not lines:
        return f"{empty}\n"
    return "\n".join([f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *lines]) + "\n"


def code(text: str) -> str:
    """Text as inline code; empty text stays empty."""
    return f"`{text}`" if text else ""


def link(heading: str) -> str:
    """A link to a heading of the same page."""
    return f"[{heading}](#{anchor(heading)})"


def anchor(heading: str) -> str:
    """The anchor that Markdown renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def type_of(field: FieldText) -> str:
    """The type of a field; the name of a record links to its table."""
    return field.type_name.replace(field.record.__name__, link(title(field.record))) if field.record else field.type_name


def title(record: type[Struct]) -> str:
    """The title of a record: its class name without `Doc`."""
    return record.__name__.removesuffix("Doc")


def limits(field: FieldText) -> str:
    """The limits of a field."""
    return _PATTERN.sub(lambda match: f"like {code(match.group(1))}", field.limits)


def prose(record: type[Struct]) -> str:
    """The docstring of a record, one line a paragraph."""
    paragraphs = (record.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
