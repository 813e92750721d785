"""The JSON Schemas of requests and answers, made from their types, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import Struct

from phimage.errors import REQUEST_ERRORS
from phimage.gateway.decode import MAX_ELEMENTS
from phimage.gateway.describe import PROJECT, nested, parameters, rows_of
from phimage.gateway.registry import Action, View

Schema = dict[str, Any]

REF = "#/components/schemas/"
FAILURE = "Failure"


def components(actions: Iterable[Action[View]]) -> dict[str, Schema]:
    """The requests and answers of all Actions, and what they are made of."""
    found: dict[str, Schema] = {}
    for action in actions:
        made, parts = _schema(action.response)
        for kind in nested(action.response):
            found[kind.__name__] = _answered(parts[kind.__name__], kind)
        found[f"{action.name}Response"] = _success(action, _answered(made, action.response))
        request, parts = _schema(action.request)
        found.update(parts)
        found[action.name] = _request(action, request)
        found[f"{action.name}Form"] = form(action)
    return {**dict(sorted(found.items())), FAILURE: _failure()}


@cache
def _schema(kind: type[Struct]) -> tuple[Schema, dict[str, Schema]]:
    """The schema of a record, and those that it refers to."""
    _, components = msgspec.json.schema_components([kind], ref_template=REF + "{name}")
    for component in components.values():
        if "description" in component:
            component["description"] = cleandoc(component["description"])
    return components.pop(kind.__name__), components


def _answered(schema: Schema, kind: type[Struct]) -> Schema:
    """The schema of a record in an answer: every field is there, but for those that can be left unset."""
    properties = {name: without(given, "default") for name, given in schema["properties"].items()}
    return {**schema, "properties": properties, "required": [row.name for row in rows_of(kind) if row.always]}


def _success(action: Action[View], schema: Schema) -> Schema:
    envelope = {
        "RetCode": {"type": "integer", "const": 0, "description": "0: it went well"},
        "Action": {"type": "string", "const": f"{action.name}Response", "description": "the Action with Response"},
    }
    return {
        **schema,
        "title": f"{action.name}Response",
        "properties": {**envelope, **schema["properties"]},
        "required": [*envelope, *schema["required"]],
    }


def _failure() -> Schema:
    codes = "\n".join(f"- {error.ret_code}: {error.meaning}" for error in REQUEST_ERRORS)
    ret_codes = [error.ret_code for error in REQUEST_ERRORS]
    mistake = {"Line": "integer", "Column": "integer", "Field": "string", "Message": "string"}
    return {
        "title": "Failure",
        "description": f"The request could not be answered.\n\n{codes}",
        "type": "object",
        "properties": {
            "RetCode": {"type": "integer", "enum": ret_codes, "description": "what is wrong"},
            "Action": {"type": "string", "description": "the Action with Response; absent when the request named none"},
            "Message": {"type": "string", "description": "what is wrong, in words that programs may compare"},
            "Detail": {"type": "string", "description": "what helps a person"},
            "Mistakes": {
                "type": "array",
                "description": "all mistakes of a catalogue file, from PlanCatalog and ApplyCatalog",
                "items": {
                    "type": "object",
                    "properties": {name: {"type": kind} for name, kind in mistake.items()},
                    "required": list(mistake),
                },
            },
        },
        "required": ["RetCode", "Message"],
    }


def _request(action: Action[View], schema: Schema) -> Schema:
    """A request as JSON: its own parameters and those that every request has."""
    common: dict[str, Schema] = {
        "Action": {"type": "string", "const": action.name, "description": "the Action"},
        "PublicKey": {"type": "string", "maxLength": 255, "description": "the key that signs"},
        "Signature": {"type": "string", "pattern": "^[0-9a-f]{40}$", "description": "signature of all other parameters"},
    }
    needed = [*common, *(row.name for row in parameters(action) if row.required)]
    if action.project:
        common["ProjectId"] = {"type": "string", "description": PROJECT.description}
    own = {name: _given(given) for name, given in schema["properties"].items()}
    own.update({name: _not_null(own[name]) for name in needed if name in own})
    return {**schema, "properties": {**common, **own}, "required": needed}


def _given(schema: Schema) -> Schema:
    made = without(schema, "default") if schema.get("default") in (None, [], ()) else schema
    return {**made, "maxItems": MAX_ELEMENTS} if made.get("type") == "array" else made


def form(action: Action[View]) -> Schema:
    """A request as a form or a query: text without null, and lists by index."""
    schema = _request(action, _schema(action.request)[0])
    properties, patterns = {}, {}
    for name, given in schema["properties"].items():
        if given.get("type") == "array":
            more = f"; more as {name}.1, {name}.2, ..."
            properties[f"{name}.0"] = {**given["items"], "description": given.get("description", "") + more}
            patterns[rf"^{name}\.[0-9]{{1,9}}$"] = given["items"]
        else:
            properties[name] = _not_null(given)
    required = [name if name in properties else f"{name}.0" for name in schema["required"]]
    made = {**schema, "title": f"{action.name}Form", "properties": properties, "required": required}
    return {**made, "patternProperties": patterns} if patterns else made


def _not_null(schema: Schema) -> Schema:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**without(schema, "anyOf"), **kinds[0]}


def without(schema: Schema, word: str) -> Schema:
    """A schema that does not say a word."""
    return {other: value for other, value in schema.items() if other != word}
