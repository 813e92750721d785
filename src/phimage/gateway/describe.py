"""Actions and records as text for the reference pages and `phimage api --describe`."""

from __future__ import annotations

from enum import Enum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from phimage.fields import Field, ValueType, fields_of
from phimage.gateway.decode import MAX_ELEMENTS
from phimage.gateway.registry import AnyAction, Credential
from phimage.model.account import Right


class FieldText(Struct, frozen=True):
    """A field of a record as text. `always`: a response never omits the field. `record` is the record in its value."""

    name: str
    type_name: str
    required: bool
    always: bool
    default: str
    limits: str
    description: str
    record: type[Struct] | None


ROLES = {
    Right.KEY: "any key",
    Right.READ: "viewer of the project",
    Right.CHANGE: "editor of the project",
    Right.OPERATE: "operator account",
}
"""The least privileged role that has a right."""
AGENTS = {Credential.ENROL_TOKEN: "enrol token of a host", Credential.HOST_KEY: "agent of a host"}
"""What calls the Actions of agents."""


PROJECT = FieldText(
    name="ProjectId",
    type_name="text",
    required=False,
    always=False,
    default="",
    limits="",
    description="the project; by default the main user's default project, and required for a sub-user",
    record=None,
)
"""The parameter of Actions that need a project."""


def required_role(action: AnyAction) -> str:
    """The least privileged role that may call an Action, or which credential of a host."""
    return AGENTS.get(action.credential) or ROLES[action.right]


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    line = " ".join(text.split("\n\n")[0].split())
    return line.partition(". ")[0].rstrip(".") + "." if line else ""


def parameters(action: AnyAction, settings: Struct) -> list[FieldText]:
    """The parameters of an Action, without those that every request has."""
    own = [_parameter(field) for field in fields_of(action.request, settings)]
    return [PROJECT, *own] if action.project and all(field.name != PROJECT.name for field in own) else own


def field_texts(record: type[Struct]) -> list[FieldText]:
    """The fields of a record."""
    return [_field_text(field) for field in fields_of(record)]


def _parameter(field: Field) -> FieldText:
    text = _field_text(field)
    elements = f"at most {MAX_ELEMENTS} elements" if field.type.shape == "list" else ""
    return replace(text, limits=", ".join(filter(None, (text.limits, elements))))


def _field_text(field: Field) -> FieldText:
    return FieldText(
        name=field.name,
        type_name=_type(field.type) + (" or null" if field.required and field.type.nullable else ""),
        required=field.required,
        always=field.always,
        default=_default(field.default),
        limits=_limits(field.type.innermost),
        description=field.type.description,
        record=field.type.innermost.record,
    )


def _type(type_: ValueType) -> str:
    match type_:
        case ValueType(shape="list" | "map" as shape, item=ValueType() as item):
            return f"{shape} of {_type(item)}"
        case ValueType(shape="record", record=type() as record):
            return record.__name__
        case ValueType(shape="choice", choices=choices):
            return " or ".join(_value(choice) for choice in choices)
    return {"integer": "whole number", "boolean": "true or false"}.get(type_.shape, type_.shape)


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_value, value))
    return "" if value in (None, {}) else _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.value if isinstance(value, Enum) else value)


def _limits(type_: ValueType) -> str:
    length = [f"at least {type_.min_length} characters"] if type_.min_length and type_.min_length > 1 else []
    length = ["not empty"] if type_.min_length == 1 else length
    length += [f"at most {type_.max_length} characters"] if type_.max_length is not None else []
    return ", ".join(filter(None, [type_.range, *length, type_.pattern and f"like {type_.pattern}"]))
