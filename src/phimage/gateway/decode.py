"""From verbatim parameters to the typed request of an Action.

The request type of an Action is a frozen struct whose fields carry their wire names and their limits (`Meta`). Absent, blank
and null are the same: the field's default, or RetCode 220 where there is none. Unknown parameters are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import msgspec

from phimage.control_characters import Allowed, find_control
from phimage.errors import MissingParam, TooLargeParam, UnavailableParam
from phimage.fields import Field, ValueType, fields_of
from phimage.gateway.params import Params, Value

Request = TypeVar("Request", bound=msgspec.Struct)

MAX_HINTS = 5
NEAR = 0.8
"""How alike two names are that may be the same, from 0 to 1 (see `difflib`): one letter of six may differ."""
MAX_ELEMENTS = 100
"""Max elements of a list in a request."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INDEX = re.compile(r"[0-9]+|n")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def decode(kind: type[Request], params: Params, settings: msgspec.Struct | None = None) -> Request:
    """The typed request. `settings` are those that fields of the type refer to.

    Raises MissingParam, UnavailableParam or TooLargeParam with the name of the parameter. All required parameters are checked
    for presence before any value is checked (wire-protocol B5).
    """
    readers = readers_of(kind, settings)
    given = {}
    for reader in readers:
        values = reader.collect(params)
        if values:
            given[reader.attribute] = values
        elif reader.required:
            raise MissingParam(reader.name)
    return kind(**{reader.attribute: reader.read(given[reader.attribute]) for reader in readers if reader.attribute in given})


def hints(
    kind: type[msgspec.Struct], params: Params, ignored: Collection[str], settings: msgspec.Struct | None = None
) -> tuple[str, ...]:
    """For each unknown parameter that is nearly a known one, both names: `Machinetype (MachineType?)`. At most MAX_HINTS.

    Unknown parameters are ignored, as every client needs (wire-protocol T20), so a mistyped filter lists too much. `ignored`
    are names that every request may have.
    """
    names, known, lists = _names_of(kind, settings)
    found: list[str] = []
    for name in params:
        if name in ignored or name in names:
            continue
        stem, _, index = name.partition(".")
        if stem in lists and _INDEX.fullmatch(index):
            continue
        near = get_close_matches(stem.lower(), known, n=1, cutoff=NEAR)
        if near and len(found) < MAX_HINTS:
            meant = known[near[0]]
            found.append(f"{name} ({meant}{'.0' if meant in lists else ''}?)")
    return tuple(found)


class ParamReader(msgspec.Struct, frozen=True):
    """Reads one parameter: `convert` turns the text of one value into the value; `many`: the parameter is a list."""

    attribute: str
    name: str
    required: bool
    many: bool
    convert: Callable[[str, str], Any]

    def collect(self, params: Params) -> list[Value]:
        """The values under the name and, for a list, under its indices, without blanks and nulls."""
        given = [params[self.name]] if self.name in params else []
        if self.many:
            if given and isinstance(given[0], list):
                given = list(given[0])
            given += [params[name] for name in _indexed(params, f"{self.name}.")]
        return [value for value in given if value is not None and value not in ("", [], {})]

    def names(self, params: Params) -> list[str]:
        """The names of those parameters that `collect` reads."""
        return [self.name, *(_indexed(params, f"{self.name}.") if self.many else ())]

    def read(self, given: list[Value]) -> Any:
        """The typed value. Raises UnavailableParam or TooLargeParam."""
        if len(given) > MAX_ELEMENTS:
            raise TooLargeParam(self.name, detail=f"at most {MAX_ELEMENTS} elements")
        values = [self.convert(self.name, _text(self.name, value)) for value in given]
        return tuple(values) if self.many else values[0]


def _indexed(params: Params, prefix: str) -> list[str]:
    names = [name for name in params if name.startswith(prefix) and _INDEX.fullmatch(name, len(prefix))]
    return sorted(names, key=lambda name: (len(name), name))


def _text(name: str, value: Value) -> str:
    if isinstance(value, str):
        return str(value)  # turns a Number, a subclass that not every library accepts, into a plain str
    if isinstance(value, bool):
        return "true" if value else "false"
    raise UnavailableParam(name, detail="expected one value, not a list or an object")


@cache
def readers_of(kind: type[msgspec.Struct], settings: msgspec.Struct | None = None) -> tuple[ParamReader, ...]:
    """The readers of a request type's parameters."""
    return tuple(map(_reader, fields_of(kind, settings)))


@cache
def _names_of(
    kind: type[msgspec.Struct], settings: msgspec.Struct | None
) -> tuple[frozenset[str], dict[str, str], frozenset[str]]:
    """The names of a request type's parameters, the same by their lower-case form, and those of lists."""
    readers = readers_of(kind, settings)
    by_lower = {reader.name.lower(): reader.name for reader in readers}
    return frozenset(by_lower.values()), by_lower, frozenset(reader.name for reader in readers if reader.many)


def _reader(field: Field) -> ParamReader:
    many = field.type.shape == "list"
    one = field.type.item if many and field.type.item else field.type
    return ParamReader(field.attribute, field.name, field.required, many, _CONVERTERS[one.shape](one))


def _integer(type_: ValueType) -> Callable[[str, str], int]:
    expected = f"expected {type_.expected}"

    def convert(name: str, text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise UnavailableParam(name, detail=expected)
        number = int(text)
        if (type_.min is not None and number < type_.min) or (type_.max is not None and number > type_.max):
            raise UnavailableParam(name, detail=expected)
        return number

    return convert


def _boolean(type_: ValueType) -> Callable[[str, str], bool]:
    def convert(name: str, text: str) -> bool:
        try:
            return _BOOLEANS[text.lower()]
        except KeyError:
            raise UnavailableParam(name, detail=f"expected {type_.expected}") from None

    return convert


def _string(type_: ValueType) -> Callable[[str, str], str]:
    pattern = re.compile(type_.pattern) if type_.pattern else None

    def convert(name: str, text: str) -> str:
        _check_text(name, text, type_.controls)
        if type_.max_length is not None and len(text) > type_.max_length:
            raise TooLargeParam(name, detail=f"at most {type_.max_length} characters")
        if pattern is not None and not pattern.fullmatch(text):  # `match` with `$` would allow a line end after the text
            raise UnavailableParam(name, detail=f"expected {type_.description or type_.pattern}")
        return text

    return convert


def _choice(type_: ValueType) -> Callable[[str, str], Enum]:
    """Compared without regard to case (wire-protocol B10)."""
    choices: dict[str, Enum] = {choice.value.lower(): choice for choice in type_.choices}
    expected = f"expected {type_.expected}"

    def convert(name: str, text: str) -> Enum:
        _check_text(name, text)
        try:
            return choices[text.lower()]
        except KeyError:
            raise UnavailableParam(name, detail=expected) from None

    return convert


def _check_text(name: str, text: str, allowed: Allowed = "none") -> None:
    if "\0" in text:
        raise UnavailableParam(name, detail="expected text without NUL")
    control = find_control(text, allowed)
    if control:
        raise UnavailableParam(name, detail=f"a text cannot have the control character {control}; remove it")


_CONVERTERS: dict[str, Callable[[ValueType], Callable[[str, str], Any]]] = {
    "integer": _integer,
    "boolean": _boolean,
    "text": _string,
    "choice": _choice,
}
