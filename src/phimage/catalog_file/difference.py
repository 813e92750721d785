"""Differences between two records, field by field, with the field names of the catalogue file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from phimage.catalog_file import yaml_writer
from phimage.catalog_file.conversion import (
    DeclaredSource,
    Record,
    cluster_doc,
    image_doc,
    machine_type_doc,
    region_doc,
    zone_doc,
)
from phimage.model.image import Image
from phimage.model.topology import Cluster, MachineType, Offer, Region, Zone

Noun = Literal["cluster", "region", "zone", "machine_type", "offer", "image", "source"]
Verb = Literal["added", "changed", "withdrawn", "restored"]


class FieldChange(Struct, frozen=True):
    """A changed field, such as `support.DB-2`. An absent value is empty."""

    field: str
    old: str
    new: str


class Difference(Struct, frozen=True):
    """A record that a plan adds, changes or withdraws, or a withdrawn image that it restores.

    `title` is the name for people. `fields` are the changed ones; empty for an added or withdrawn record. `before` of a
    restored image is its last state.
    """

    noun: Noun
    id: str
    verb: Verb
    title: str
    fields: tuple[FieldChange, ...]
    before: Record | None
    after: Record | None


def difference(noun: Noun, id: str, before: Record | None, after: Record | None) -> Difference:
    """The difference between a record of the catalogue and one of the file. One of them may be absent."""
    record = after or before
    assert record is not None
    if before is None or after is None:
        verb: Verb = "added" if before is None else "withdrawn"
        return Difference(noun, id, verb, title(record), (), before, after)
    return Difference(noun, id, "changed", title(record), _changes(before, after), before, after)


def restored(before: Image, after: Image, *fields: FieldChange) -> Difference:
    """The difference of a restored image to its last state, with additional fields."""
    return Difference("image", after.id, "restored", title(after), (*_changes(before, after), *fields), before, after)


def _changes(before: Record, after: Record) -> tuple[FieldChange, ...]:
    old, new = _fields(before), _fields(after)
    changes = [FieldChange(field, old.get(field, ""), new.get(field, "")) for field in (old | new)]
    return tuple(change for change in changes if change.old != change.new)


def title(record: Record) -> str:
    """The name of a record, for people."""
    match record:
        case Cluster():
            return record.description
        case Offer():
            return f"stock {record.stock}"
        case Image():
            return record.name
        case DeclaredSource():
            return record.shown
    return record.name_en or record.name_zh


def _fields(record: Record) -> dict[str, str]:
    """The fields of a record with their names and values in a file."""
    match record:
        case Cluster():
            return _flat(cluster_doc(record))
        case Region():
            return _flat(region_doc(record))
        case Zone():
            return {"region": record.region, **_flat(zone_doc(record))}
        case MachineType():
            return _flat(machine_type_doc(record))
        case Offer():
            return {"stock": str(record.stock)}
        case Image():
            return _flat(image_doc(record))
        case DeclaredSource():
            return {"source": record.shown, "sha256": record.digest.removeprefix("sha256:"), "failure": record.failure}


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, Struct):
        return _flat({name: getattr(value, name) for name in value.__struct_fields__}, path)
    if isinstance(value, Mapping):
        start = f"{path}." if path else ""
        return {name: text for key, inner in value.items() for name, text in _flat(inner, f"{start}{key}").items()}
    if isinstance(value, tuple) and any(isinstance(inner, Struct) for inner in value):
        return {name: text for at, inner in enumerate(value) for name, text in _flat(inner, f"{path}[{at}]").items()}
    if value is None:
        return {}
    return {path: value if isinstance(value, str) else yaml_writer.flow(value)}
