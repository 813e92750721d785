"""From verbatim parameters to the typed request of an Action.

The request type of an Action is a frozen struct whose fields carry their wire names and their limits (`Meta`). Absent, blank
and null are the same: the field's default, or RetCode 220 where there is none. Unknown parameters are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from phimage.errors import MissingParam, TooLargeParam, UnavailableParam
from phimage.gateway.params import Params, Value

Request = TypeVar("Request", bound=msgspec.Struct)

MAX_ELEMENTS = 100
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_INDEX = re.compile(r"[0-9]+|n")
_TRUE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def decode(kind: type[Request], params: Params, needs: frozenset[str] = frozenset()) -> Request:
    """The typed request. `needs` names fields that are required although the type has a default.

    Raises MissingParam, UnavailableParam or TooLargeParam with the name of the parameter; all that is missing is told
    before anything that is wrong (wire-protocol B5).
    """
    readers = readers_of(kind)
    found = {}
    for reader in readers:
        given = reader.collect(params)
        if given:
            found[reader.field] = given
        elif reader.required or reader.field in needs:
            raise MissingParam(reader.name)
    return kind(**{reader.field: reader.read(found[reader.field]) for reader in readers if reader.field in found})


class Reader(msgspec.Struct, frozen=True):
    """Reads one parameter: `one` turns a text into a value; `many` says that it is a list."""

    field: str
    name: str
    required: bool
    many: bool
    one: Callable[[str, str], Any]

    def collect(self, params: Params) -> list[Value]:
        """What was given under the name and, for a list, under its indices; blanks and nulls are not given."""
        given = [params[self.name]] if self.name in params else []
        if self.many:
            if given and isinstance(given[0], list):
                given = list(given[0])
            given += [params[name] for name in _indexed(params, f"{self.name}.")]
        return [value for value in given if value is not None and value not in ("", [], {})]

    def read(self, given: list[Value]) -> Any:
        """The typed value. Raises UnavailableParam or TooLargeParam."""
        if len(given) > MAX_ELEMENTS:
            raise TooLargeParam(self.name, detail=f"at most {MAX_ELEMENTS} elements")
        values = [self.one(self.name, _text(self.name, value)) for value in given]
        return tuple(values) if self.many else values[0]


def _indexed(params: Params, prefix: str) -> list[str]:
    names = [name for name in params if name.startswith(prefix) and _INDEX.fullmatch(name, len(prefix))]
    return sorted(names, key=lambda name: (len(name), name))


def _text(name: str, value: Value) -> str:
    if isinstance(value, str):
        return str(value)  # a Number is a str that not everything takes for one
    if isinstance(value, bool):
        return "true" if value else "false"
    raise UnavailableParam(name, detail="expected one value, not a list or an object")


@cache
def readers_of(kind: type[msgspec.Struct]) -> tuple[Reader, ...]:
    """The parameters of a request type."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _reader(field.name, field.encode_name, field.required, hints[field.name]) for field in msgspec.structs.fields(kind)
    )


def _reader(field: str, name: str, required: bool, hint: Any) -> Reader:
    inner, meta = _bare(hint)
    many = get_origin(inner) is tuple
    if many:
        inner, meta = _bare(get_args(inner)[0])
    one = _integer(meta) if inner is int else _boolean if inner is bool else _string(inner, meta)
    return Reader(field, name, required, many, one)


def _bare(hint: Any) -> tuple[Any, msgspec.Meta]:
    """A type without `Annotated`, `| None` and `NewType` around it, and what was noted on it."""
    meta = msgspec.Meta()
    while True:
        if get_origin(hint) is Annotated:
            hint, *notes = get_args(hint)
            meta = next((note for note in notes if isinstance(note, msgspec.Meta)), meta)
        elif get_origin(hint) in (Union, UnionType):
            hint = next(part for part in get_args(hint) if part is not NoneType)
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        else:
            return hint, meta


def _integer(meta: msgspec.Meta) -> Callable[[str, str], int]:
    lowest, highest = meta.ge, meta.le

    def read(name: str, text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise UnavailableParam(name, detail="expected a whole number")
        number = int(text)
        if (lowest is not None and number < lowest) or (highest is not None and number > highest):
            raise UnavailableParam(name, detail=f"expected a number from {lowest} to {highest}")
        return number

    return read


def _boolean(name: str, text: str) -> bool:
    try:
        return _TRUE[text.lower()]
    except KeyError:
        raise UnavailableParam(name, detail="expected true or false") from None


def _string(kind: Any, meta: msgspec.Meta) -> Callable[[str, str], Any]:
    pattern = re.compile(meta.pattern) if meta.pattern else None
    longest = meta.max_length

    def read(name: str, text: str) -> Any:
        if "\0" in text:
            raise UnavailableParam(name, detail="expected text without NUL")
        if longest is not None and len(text) > longest:
            raise TooLargeParam(name, detail=f"at most {longest} characters")
        if pattern is not None and not pattern.fullmatch(text):  # `$` alone lets a line end pass
            raise UnavailableParam(name, detail=f"expected {meta.description or meta.pattern}")
        if kind is str:
            return text
        for choice in kind:  # an enum: compared without regard to case (wire-protocol B10)
            if choice.value.lower() == text.lower():
                return choice
        raise UnavailableParam(name, detail=f"expected one of {', '.join(choice.value for choice in kind)}")

    return read
