"""The JSON Schemas of requests and responses in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from phimage.errors import REQUEST_ERRORS
from phimage.fields import Field, fields_of, nested_records
from phimage.gateway.decode import MAX_ELEMENTS
from phimage.gateway.describe import PROJECT
from phimage.gateway.registry import AnyAction
from phimage.json_schema import Schema, field_schema, object_schema, value_schema

REF = "#/components/schemas/"
FAILURE = "Failure"


def components(actions: Iterable[AnyAction], settings: Struct) -> dict[str, Schema]:
    """The schemas of all requests, responses and nested records, by name."""
    schemas: dict[str, Schema] = {}
    for action in actions:
        for record in nested_records(action.response):
            schemas[record.__name__] = _response_record(record)
        schemas[f"{action.name}Response"] = _response(action)
        schemas[action.name] = _request(action, settings)
        schemas[f"{action.name}Form"] = form(action, settings)
    return {**dict(sorted(schemas.items())), FAILURE: _failure()}


def _response_record(record: type[Struct]) -> Schema:
    """The schema of a record in a response."""
    return object_schema(record, record.__name__, *_response_fields(record))


def _response(action: AnyAction) -> Schema:
    properties, required = _response_fields(action.response)
    envelope: dict[str, Schema] = {
        "RetCode": {"type": "integer", "const": 0, "description": "0: success"},
        "Action": {"type": "string", "const": f"{action.name}Response", "description": "the Action followed by Response"},
    }
    return object_schema(action.response, f"{action.name}Response", {**envelope, **properties}, [*envelope, *required])


def _response_fields(record: type[Struct]) -> tuple[dict[str, Schema], list[str]]:
    """A response has every field but those that can be left unset, so no default is of interest."""
    fields = fields_of(record)
    properties = {field.name: value_schema(field.type, REF) for field in fields}
    return properties, [field.name for field in fields if field.always]


def _failure() -> Schema:
    codes = "\n".join(f"- {error.ret_code}: {error.meaning}" for error in REQUEST_ERRORS)
    error = {"Line": "integer", "Column": "integer", "Field": "string", "Message": "string"}
    return {
        "title": "Failure",
        "description": f"The request failed.\n\n{codes}",
        "type": "object",
        "properties": {
            "RetCode": {
                "type": "integer",
                "enum": [error.ret_code for error in REQUEST_ERRORS],
                "description": "the kind of error",
            },
            "Action": {"type": "string", "description": "the Action followed by Response; absent when the request named none"},
            "Message": {"type": "string", "description": "the error; its wording is stable, so programs may compare it"},
            "Detail": {"type": "string", "description": "the reason and the remedy, for people"},
            "Errors": {
                "type": "array",
                "description": "every error in a catalogue file, from PlanCatalog and ApplyCatalog",
                "items": {
                    "type": "object",
                    "properties": {name: {"type": kind} for name, kind in error.items()},
                    "required": list(error),
                },
            },
        },
        "required": ["RetCode", "Message"],
    }


def _common(action: AnyAction) -> tuple[dict[str, Schema], list[str]]:
    """The parameters that an Action has without declaring them, and the names of those that are required."""
    common: dict[str, Schema] = {
        "Action": {"type": "string", "const": action.name, "description": "the Action"},
        "PublicKey": {"type": "string", "maxLength": 255, "description": "the public key of the signer"},
        "Signature": {"type": "string", "pattern": "^[0-9a-f]{40}$", "description": "signature of all other parameters"},
    }
    required = list(common)
    if action.project:
        common["ProjectId"] = {"type": "string", "description": PROJECT.description}
    return common, required


def _request(action: AnyAction, settings: Struct) -> Schema:
    """A request as JSON: an optional parameter that is nullable may be null, and lists are arrays."""
    properties, required = _common(action)
    for field in fields_of(action.request, settings):
        schema = field_schema(field, REF)
        properties[field.name] = {**schema, "maxItems": MAX_ELEMENTS} if field.type.shape == "list" else schema
        required += [field.name] if field.required else []
    return object_schema(action.request, action.name, properties, required)


def form(action: AnyAction, settings: Struct) -> Schema:
    """A request as a form or a query: text without null, and lists by index."""
    properties, required = _common(action)
    patterns: dict[str, Any] = {}
    for field in fields_of(action.request, settings):
        name = field.name
        if field.type.shape == "list" and field.type.item is not None:
            element = value_schema(field.type.item, REF)
            name = f"{field.name}.0"
            more = f"{field.type.description}; more as {field.name}.1, {field.name}.2, ..."
            properties[name] = {**element, "description": more}
            patterns[rf"^{field.name}\.[0-9]{{1,9}}$"] = element
        else:
            properties[name] = field_schema(_not_null(field), REF)
        required += [name] if field.required else []
    schema = object_schema(action.request, f"{action.name}Form", properties, required)
    return {**schema, "patternProperties": patterns} if patterns else schema


def _not_null(field: Field) -> Field:
    return replace(field, type=replace(field.type, nullable=False))
