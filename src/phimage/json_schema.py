"""JSON Schema 2020-12 of the types that `phimage.fields` describes."""

from __future__ import annotations

from enum import Enum
from inspect import cleandoc
from typing import Any

from msgspec import Struct

from phimage.fields import Field, ValueType, fields_of

Schema = dict[str, Any]


def record_schema(record: type[Struct], ref: str) -> Schema:
    """The schema of a record. `ref` is the start of references to the schemas of other records, by the class's name."""
    fields = fields_of(record)
    required = [field.name for field in fields if field.required]
    schema = object_schema(record, record.__name__, {field.name: field_schema(field, ref) for field in fields}, required)
    return {**schema, "additionalProperties": False} if record.__struct_config__.forbid_unknown_fields else schema


def object_schema(record: type[Struct], title: str, properties: dict[str, Schema], required: list[str]) -> Schema:
    """The schema of an object that a record describes."""
    return {
        "title": title,
        "description": cleandoc(record.__doc__ or ""),
        "type": "object",
        "properties": properties,
        "required": required,
    }


def field_schema(field: Field, ref: str) -> Schema:
    """The schema of a field, with its default."""
    schema = value_schema(field.type, ref)
    return schema if field.default in (None, (), {}) else {**schema, "default": field.default}


def value_schema(type_: ValueType, ref: str) -> Schema:
    """The schema of a value, with its description."""
    schema = _shape(type_, ref)
    if type_.nullable:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {"description": type_.description, **schema} if type_.description else schema


def _shape(type_: ValueType, ref: str) -> Schema:
    match type_:
        case ValueType(shape="text"):
            limits = {"minLength": type_.min_length, "maxLength": type_.max_length, "pattern": type_.pattern}
            return {"type": "string", **_given(limits)}
        case ValueType(shape="integer" | "number" as shape):
            return {"type": shape, **_given({"minimum": type_.min, "maximum": type_.max})}
        case ValueType(shape="choice", choices=choices):
            return {"enum": sorted(choice.value if isinstance(choice, Enum) else choice for choice in choices)}
        case ValueType(shape="list", item=ValueType() as item):
            return {"type": "array", "items": value_schema(item, ref)}
        case ValueType(shape="map", item=ValueType() as item):
            return {"type": "object", "additionalProperties": value_schema(item, ref)}
        case ValueType(shape="record", record=type() as record):
            return {"$ref": f"{ref}{record.__name__}"}
    return {"type": "boolean"}


def _given(limits: Schema) -> Schema:
    return {name: limit for name, limit in limits.items() if limit is not None}
