"""The fields in which two states of a record differ, as texts. Secrets are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Annotated, Any

from msgspec import Meta, Struct

from phimage.sources.url import shown

_URLS = frozenset(("source",))
"""Fields with a URL, which may carry credentials."""

Value = str | tuple[str, ...]
"""A value as text, or the elements of a list or a map."""


class ChangedField(Struct, rename="pascal", frozen=True, kw_only=True):
    """A changed field. A list or a map has Added and Removed in place of Old and New, unless only its order changed."""

    field: Annotated[str, Meta(description="name of the field, such as description or cpu.model")]
    old: Annotated[str, Meta(description="value before; empty if it was absent")] = ""
    new: Annotated[str, Meta(description="value since; empty if it is absent")] = ""
    added: Annotated[tuple[str, ...], Meta(description="elements that were added, such as TYPE:CLUSTER or KEY=VALUE")] = ()
    removed: Annotated[tuple[str, ...], Meta(description="elements that were removed")] = ()


def changed_fields(before: Struct | None, after: Struct | None, without: Collection[str] = ()) -> tuple[ChangedField, ...]:
    """The differences of two states, of which one may be absent; `without` are fields to leave out."""
    old, new = _values(before, without), _values(after, without)
    names = dict.fromkeys((*old, *new))
    pairs = ((name, old.get(name) or "", new.get(name) or "") for name in names)
    return tuple(_changed(name, one, other) for name, one, other in pairs if one != other)


def _changed(name: str, old: Value, new: Value) -> ChangedField:
    if isinstance(old, str) and isinstance(new, str):
        return ChangedField(field=name, old=old, new=new)
    before, after = Counter(_elements(old)), Counter(_elements(new))
    if before == after:
        return ChangedField(field=name, old=", ".join(_elements(old)), new=", ".join(_elements(new)))
    added, removed = tuple((after - before).elements()), tuple((before - after).elements())
    return ChangedField(field=name, added=added, removed=removed)


def _elements(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,) if value else ()


def _values(record: Struct | None, without: Collection[str]) -> dict[str, Value]:
    """The values of a record by the path of their field, without secrets."""
    if record is None:
        return {}
    values: dict[str, Value] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name in without or isinstance(value, bytes):  # the bytes in a record are encrypted keys
            continue
        if isinstance(value, Struct):
            values |= {f"{name}.{path}": inner for path, inner in _values(value, ()).items()}
        elif isinstance(value, Mapping):
            values[name] = tuple(_pairs(value))
        elif isinstance(value, tuple | list | frozenset):
            values[name] = tuple(_one(element) for element in value)
        else:
            values[name] = shown(value) if name in _URLS else _one(value)
    return values


def _pairs(value: Mapping[Any, Any]) -> Iterable[str]:
    for key, inner in value.items():
        if isinstance(inner, tuple | list):
            yield from (f"{_one(key)}:{_one(element)}" for element in inner) if inner else (_one(key),)
        else:
            yield f"{_one(key)}={_one(inner)}"


def _one(value: Any) -> str:
    """A single value as text; a record inside a list on one line."""
    if isinstance(value, Struct):
        return " ".join(f"{name}={text}" for name, text in _values(value, ()).items() if text)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
