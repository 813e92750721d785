"""Changes of records as lines for people: one for each changed field, within the width of a terminal."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import combining, east_asian_width

from msgspec import Struct

from phimage.cli.output import printable

_BARE = re.compile(r"-?\d+|true|false")
_FACTS = "facts."
_MIN_VALUE = 12
"""The fewest characters to which a value is cut."""
_MAIN = {
    "image": ("name", "type", "project", "state"),
    "image_bytes": ("source", "target_state"),
    "account": ("company", "operator"),
    "user": ("name", "account"),
    "key": ("account", "user", "expires"),
    "project": ("name", "account"),
    "membership": ("role", "account"),
    "machine_type": ("name_en", "disk_class"),
    "region": ("name_en", "number"),
    "zone": ("name_en", "region"),
}
"""The fields by which people know a record that was added or withdrawn; for other nouns all of them."""


class Symbols(Struct, frozen=True):
    """The arrow between two values."""

    arrow: str


UNICODE = Symbols("\N{RIGHTWARDS ARROW}")
ASCII = Symbols("->")


def change_lines(change: dict[str, Any], width: int, symbols: Symbols, *, whole: bool = True) -> list[str]:
    """The lines of a changed record of GetRevision, each within `width` if its ids leave room.

    Unless `whole`, the facts of a disk are counted in one line.
    """
    begin = f"  {change['Noun']} {printable(change['Id']) or 'Base'}  "
    fields = change["Fields"]
    if change["Verb"] == "adopted":
        return [f"{begin}adopted by the catalogue file"]
    if change["Verb"] in ("added", "withdrawn"):
        texts = [text for one in _main(change["Noun"], fields) if (text := _state(one, change["Verb"]))]
        return [_cut(begin + f"{change['Verb']}  {', '.join(texts)}".rstrip(), width)]
    counted = [] if whole else [one for one in fields if one["Field"].startswith(_FACTS)]
    lines = [_line(begin, one, width, symbols) for one in fields if one not in counted]
    if counted:
        lines.append(f"{begin}facts: {len(counted)} fields")
    return lines or [f"{begin}{change['Verb']}"]


def _main(noun: str, fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_name = {one["Field"]: one for one in fields}
    return [by_name[name] for name in _MAIN.get(noun, tuple(by_name)) if name in by_name]


def _state(one: dict[str, Any], verb: str) -> str:
    """A field of an added or withdrawn record."""
    value, elements = (one["New"], one["Added"]) if verb == "added" else (one["Old"], one["Removed"])
    text = _quoted(value) if value else " ".join(map(printable, elements))
    return f"{one['Field']} {text}" if text else ""


def _line(begin: str, one: dict[str, Any], width: int, symbols: Symbols) -> str:
    begin += f"{one['Field']}: "
    if one["Added"] or one["Removed"]:
        elements = (*(f"+{text}" for text in one["Added"]), *(f"-{text}" for text in one["Removed"]))
        return _cut(begin + " ".join(map(printable, elements)), width)
    old, new = _fitting(one["Old"], one["New"], width - cells(begin) - len(f" {symbols.arrow} "))
    return f"{begin}{old} {symbols.arrow} {new}"


def _fitting(old: str, new: str, room: int) -> tuple[str, str]:
    """Both values, quoted, cut to the room around the first character in which they differ."""
    texts = _quoted(old), _quoted(new)
    widths = cells(texts[0]), cells(texts[1])
    if sum(widths) <= room:
        return texts
    half = max(_MIN_VALUE, room // 2, room - min(widths))
    equal = next((at for at, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new)))
    letters = half * len(old + new) // cells(old + new)
    start = max(0, min(equal - letters // 4, max(len(old), len(new)) - letters + 5)) if equal > letters // 2 else 0
    return _part(old, start, half), _part(new, start, half)


def _part(text: str, start: int, width: int) -> str:
    """A quoted value within `width` that begins at `start`, with dots for what is left out."""
    whole = _quoted(text)
    if cells(whole) <= width:
        return whole
    head = "..." if start else ""
    return f'"{head}{_cut(printable(text[start:]), width - 2 - len(head))}"'


def _quoted(text: str) -> str:
    return text if _BARE.fullmatch(text) else f'"{printable(text)}"'


def _cut(text: str, width: int) -> str:
    """A text within a width, with dots for what is left out."""
    if cells(text) <= width:
        return text
    room, end = max(_MIN_VALUE, width) - 3, 0
    while end < len(text) and cells(text[: end + 1]) <= room:
        end += 1
    return f"{text[:end]}..."


def cells(text: str) -> int:
    """The columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(letter) in "WF" else 0 if combining(letter) else 1 for letter in text)
