"""Writes values as YAML: byte for byte stable, with quotes only where YAML would read another value.

Not PyYAML's emitter, because every byte of an export is a promise and a newer PyYAML may write other bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

WIDTH = 120

_WORDS = frozenset(("", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<"))
_RETYPED = re.compile(
    r"""
    [-+]? (0b[01_]+ | 0o?[0-7_]+ | 0x[0-9a-f_]+)                          # whole numbers
    | [-+]? (\.[0-9_]+ | [0-9][0-9_]*(\.[0-9_]*)?) (e[-+]?[0-9]*)?        # numbers
    | [-+]? [0-9][0-9_]* (:[0-5]?[0-9])+ (\.[0-9_]*)?                     # numbers of base 60
    | [-+]? \.inf | \.nan
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} ([t\ ].*)?                           # dates
    """,
    re.VERBOSE | re.IGNORECASE,
)
_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@` .")
_SYNTAX = re.compile(r": | #|:$| $")
_FLOW_SYNTAX = re.compile(r"[,\[\]{}:?]")
_UNSEEN = re.compile(
    "[^\x20-\x7e\xa1-\u061b\u061d-\u200a\u200c\u200d\u2010-\u2027\u2030-\u205f\u2070-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""Control characters, line ends, no-break spaces, directional marks and noncharacters."""

_SINGLE_SPACE = re.compile("(?<! ) (?! )")


@lru_cache(10_000)  # zones and machine types repeat
def text(value: str, *, flow: bool = False) -> str:
    """A text on one line. `flow`: inside brackets."""
    plain = (
        value.lower() not in _WORDS
        and value[0] not in _INDICATORS
        and not _RETYPED.fullmatch(value)
        and not _SYNTAX.search(value)
        and not _UNSEEN.search(value)
        and not (flow and _FLOW_SYNTAX.search(value))
    )
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    return _UNSEEN.sub(_escape, json.dumps(value, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def flow(value: Any) -> str:
    """A value on one line, with lists and mappings in brackets."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return _scalar(value, flow=True)


def _pairs(mapping: Mapping[str, Any]) -> Iterable[str]:
    return (f"{text(name, flow=True)}: {flow(value)}" for name, value in mapping.items())


def _scalar(value: str | int | bool, *, flow: bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else text(value, flow=flow)


def field(name: str, value: Any, indent: int) -> list[str]:
    """The lines of a name and its value: one line if it fits, else the value below the name."""
    start = f"{' ' * indent}{text(name)}:"
    if isinstance(value, str):
        return _text_field(start, value, indent + 2)
    if isinstance(value, int):
        return [f"{start} {_scalar(value, flow=False)}"]
    parts = list(value.values() if isinstance(value, Mapping) else value)
    nested = any(isinstance(part, Mapping) for part in parts)
    line = f"{start} {flow(value)}"
    if not nested and len(line) <= WIDTH:
        return [line]
    if isinstance(value, Mapping):
        if nested or any(isinstance(part, str) for part in parts):
            return [start, *fields(value, indent + 2)]
        return [start, *_filled("{", list(_pairs(value)), "}", indent + 2)]
    if nested:
        return [start, *(line for part in parts for line in item(part, indent + 2))]
    return [start, *_filled("[", [flow(part) for part in parts], "]", indent + 2)]


def fields(mapping: Mapping[str, Any], indent: int) -> list[str]:
    """The lines of a mapping."""
    return [line for name, value in mapping.items() for line in field(name, value, indent)]


def item(mapping: Mapping[str, Any], indent: int, *, roomy: bool = False) -> list[str]:
    """The lines of a mapping in a list: one line if it fits, unless `roomy`."""
    dash = " " * indent + "- "
    line = dash + flow(mapping)
    if not roomy and len(line) <= WIDTH:
        return [line]
    lines = fields(mapping, indent + 2)
    return [dash + lines[0].lstrip(" "), *lines[1:]]


def _text_field(start: str, value: str, indent: int) -> list[str]:
    margin = " " * indent
    lines = value.removesuffix("\n").split("\n")
    if len(lines) > 1 and all(line and line[0] != " " and not _UNSEEN.search(line) for line in lines):
        return [f"{start} {'|' if value.endswith(chr(10)) else '|-'}", *(margin + line for line in lines)]
    line = f"{start} {text(value)}"
    if len(line) <= WIDTH or value[0] == " " or value[-1] == " " or _UNSEEN.search(value):
        return [line]
    lines = _fill(_SINGLE_SPACE.split(value), WIDTH - indent)
    return [f"{start} >-", *(margin + line for line in lines)] if len(lines) > 1 else [line]


def _filled(opening: str, parts: list[str], closing: str, indent: int) -> list[str]:
    lines = _fill([f"{part}," for part in parts[:-1]] + [parts[-1] + closing], WIDTH - indent - 1)
    return [" " * indent + (opening if number == 0 else " ") + line for number, line in enumerate(lines)]


def _fill(words: list[str], width: int) -> list[str]:
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines
