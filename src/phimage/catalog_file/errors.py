"""Errors in a catalogue file, with their places."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches

from msgspec import Struct

Path = tuple[str | int, ...]
"""The place of a value in a file: `("images", 3, "support", "DB-2", 0)`."""

MAX_ERRORS = 1000
"""Max errors that are reported. A file with more has one error that explains the others."""

MAX_NAMES = 12
"""Max names that a message lists."""

MAX_NAME = 64
"""Max characters of a name in a message."""


class FileError(Struct, frozen=True, order=True):
    """An error in a file. Lines and columns count from 1; `field` is a path such as `images[3].support.DB-2[0]`."""

    line: int
    column: int
    field: str
    message: str


class ErrorList:
    """Collects the errors of a file, each once."""

    def __init__(self, earlier: Iterable[FileError] = ()) -> None:
        self._errors = set(earlier)
        self._omitted = 0

    def add(self, line: int, column: int, path: Path, message: str) -> None:
        """Add an error. Adding it again has no effect."""
        if self.is_full:
            self._omitted += 1
        else:
            self._errors.add(FileError(line, column, field_name(path), message))

    @property
    def is_full(self) -> bool:
        """Whether further errors are only counted, so that nobody reads their messages."""
        return len(self._errors) >= MAX_ERRORS

    def in_order(self) -> tuple[FileError, ...]:
        """The errors from top to bottom, then the number of those that are omitted."""
        errors = sorted(self._errors)
        if self._omitted:
            errors.append(FileError(errors[-1].line, errors[-1].column, "", f"and {self._omitted} more errors"))
        return tuple(errors)


def field_name(path: Path) -> str:
    """A path as text."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{printable(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def printable(name: str) -> str:
    """A name for a message: shortened, without control characters that a terminal would obey."""
    return name if name.isprintable() and 0 < len(name) <= MAX_NAME else quoted(name)


def quoted(text: str) -> str:
    """A text in quotes for a message: shortened, without control characters that a terminal would obey."""
    short = text if len(text) <= MAX_NAME else text[: MAX_NAME - 3] + "..."
    return json.dumps(short, ensure_ascii=not short.isprintable())


def suggestion(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name, for the end of a message."""
    names = list(known)
    if not names:
        return "there is none yet"
    close = get_close_matches(name, names, n=1)
    if len(names) <= MAX_NAMES:
        return f"expected one of {', '.join(names)}" + (f"; did you mean {close[0]}?" if close else "")
    return f"did you mean {close[0]}?" if close else f"none of the {len(names)} known ones is similar"
