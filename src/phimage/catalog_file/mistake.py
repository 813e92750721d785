"""What is wrong in a catalogue file, and where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches

from msgspec import Struct

Path = tuple[str | int, ...]
"""Where a value stands in a file: `("images", 3, "support", "DB-2", 0)`."""

MOST = 1000
"""How many mistakes are told. Who has more of them has one that explains the rest."""

MAX_NAMES = 12
"""How many names a message lists."""

LONGEST_NAME = 64


class Mistake(Struct, frozen=True, order=True):
    """A mistake. Lines and columns count from 1; `field` is where it stands, such as `images[3].support.DB-2[0]`."""

    line: int
    column: int
    field: str
    message: str


class Mistakes:
    """Collects mistakes."""

    def __init__(self, earlier: Iterable[Mistake] = ()) -> None:
        self._found = set(earlier)
        self._left_out = 0

    def add(self, line: int, column: int, path: Path, message: str) -> None:
        """Note a mistake. The same one noted again is one."""
        if len(self._found) < MOST:
            self._found.add(Mistake(line, column, field_name(path), message))
        else:
            self._left_out += 1

    def told(self) -> tuple[Mistake, ...]:
        """All of them from top to bottom, the last line saying how many were left out."""
        found = sorted(self._found)
        if self._left_out:
            found.append(Mistake(found[-1].line, found[-1].column, "", f"and {self._left_out} more mistakes"))
        return tuple(found)


def field_name(path: Path) -> str:
    """A path as people write it."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def shown(name: str) -> str:
    """A name inside of a message: short, and nothing that a terminal would obey."""
    return name if name.isprintable() and 0 < len(name) <= LONGEST_NAME else quoted(name)


def quoted(text: str) -> str:
    """A text inside of a message, between quotes: short, and nothing that a terminal would obey."""
    short = text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 3] + "..."
    return json.dumps(short, ensure_ascii=not short.isprintable())


def instead(name: str, known: Iterable[str]) -> str:
    """What could have been meant by an unknown name, for the end of a message."""
    names = list(known)
    if not names:
        return "there is none yet"
    close = get_close_matches(name, names, n=1)
    if len(names) <= MAX_NAMES:
        return f"expected one of {', '.join(names)}" + (f"; did you mean {close[0]}?" if close else "")
    return f"did you mean {close[0]}?" if close else f"none of the {len(names)} known ones is like it"
