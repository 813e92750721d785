"""Control and bidirectional characters in texts: refused where texts are written, escaped where they are shown.

A terminal obeys control characters, and bidirectional ones reorder what a person reads, so one text can pass for another.
"""

from __future__ import annotations

import re
from typing import Literal

Allowed = Literal["none", "lines", "any"]
"""The control characters that a text may have: none; tabs and line feeds; or any, for the text of a whole file."""

_CHARACTERS = "\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069"
"""C0, DEL and C1; the separators of lines and paragraphs; marks, embeddings, overrides and isolates of direction."""

_ANY = re.compile(f"[{_CHARACTERS}]")
_NOT_IN_LINES = re.compile(f"(?![\\t\\n])[{_CHARACTERS}]")
_NOT_IN_JSON = re.compile(f"(?![\\x00-\\x1f])[{_CHARACTERS}]")


# docs/decisions.md#texts-have-no-control-characters
def find_control(text: str, allowed: Allowed = "none") -> str:
    """The first control or bidirectional character that a text may not have, as `U+202E`; empty if there is none."""
    if text.isascii() and text.isprintable():  # almost every text, in a tenth of the time
        return ""
    match = None if allowed == "any" else (_NOT_IN_LINES if allowed == "lines" else _ANY).search(text)
    return f"U+{ord(match.group()):04X}" if match else ""


def escape(text: str, *, lines: bool = False) -> str:
    """A text for people, with its control and bidirectional characters as `\\x1b` or `\\u202e`.

    `lines`: tabs and line feeds stay.
    """
    return (_NOT_IN_LINES if lines else _ANY).sub(_escaped, text)


def escape_json(text: str) -> str:
    """The same JSON without these characters, which occur in its texts alone. JSON itself escapes those below U+0020."""
    return _NOT_IN_JSON.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
