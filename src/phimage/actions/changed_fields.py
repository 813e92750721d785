"""The fields in which two states of a record differ, as texts. Secrets are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import Enum
from typing import Annotated, Any

from msgspec import Meta, Struct

from phimage.catalog.history import RecordStep, steps_so_far
from phimage.catalog.revisions import Change
from phimage.sources.url import shown

_URLS = frozenset(("source",))
"""Fields with a URL, which may carry credentials."""

MAX_DRY_RUN_CHANGES = 100

Value = str | tuple[str, ...]
"""A value as text, or the elements of a list or a map."""


class ChangedField(Struct, rename="pascal", frozen=True, kw_only=True):
    """A changed field. A list or a map has Added and Removed in place of Old and New, unless only its order changed."""

    field: Annotated[str, Meta(description="name of the field, such as description or cpu.model")]
    old: Annotated[str, Meta(description="value before; empty if it was absent")] = ""
    new: Annotated[str, Meta(description="value since; empty if it is absent")] = ""
    added: Annotated[tuple[str, ...], Meta(description="elements that were added, such as TYPE:CLUSTER or KEY=VALUE")] = ()
    removed: Annotated[tuple[str, ...], Meta(description="elements that were removed")] = ()


class ChangedRecord(Struct, rename="pascal", frozen=True, kw_only=True):
    """A record that a revision changed, with its changed fields. Private keys are never among them."""

    noun: Annotated[str, Meta(description="kind of record, such as image or account")]
    id: Annotated[str, Meta(description="id of the record")]
    verb: Annotated[str, Meta(description="added, changed, withdrawn, or adopted by a catalogue file")]
    fields: Annotated[
        tuple[ChangedField, ...],
        Meta(
            description="the changed fields; all that are not empty for an added or withdrawn record, none for an adopted one"
        ),
    ]


class DryRunResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """What a request would change. It was carried out and undone, so everything it depends on was checked."""

    total_count: Annotated[int, Meta(description="number of all changes")]
    changes: Annotated[tuple[ChangedRecord, ...], Meta(description="the first changes, in the order of the log")]


def changed_records(steps: Iterable[RecordStep]) -> tuple[ChangedRecord, ...]:
    """Records that a revision touched, with their changed fields."""
    return tuple(
        ChangedRecord(
            noun=step.change.noun,
            id=step.change.id,
            verb=step.change.verb,
            fields=changed_fields(step.before, step.after, step.keys),
        )
        for step in steps
    )


def dry_run_response(change: Change) -> DryRunResponse:
    """What a revision that is being written changes."""
    return DryRunResponse(
        total_count=len(change.records), changes=changed_records(steps_so_far(change, limit=MAX_DRY_RUN_CHANGES))
    )


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
