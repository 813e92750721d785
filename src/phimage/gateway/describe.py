"""Actions and records in words for people: what the reference pages and `phimage api --describe` show.

Everything is read from the types that the program itself follows, so it cannot say anything else than what is so.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from msgspec import NODEFAULT, UNSET, Struct, inspect, structs

from phimage.gateway.decode import MAX_ELEMENTS
from phimage.gateway.registry import Action, View
from phimage.model.account import Right


class Row(Struct, frozen=True):
    """One field of a record, as a caller writes or reads it. `always`: an answer never leaves it out.

    `parts` is the record that its value is made of, if any.
    """

    name: str
    kind: str
    required: bool
    always: bool
    default: str
    limits: str
    description: str
    parts: type[Struct] | None


WHO = {
    Right.KEY: "any key",
    Right.READ: "viewer of the project",
    Right.CHANGE: "editor of the project",
    Right.OPERATE: "operator account",
}
"""The least role that an Action asks for, in words."""


PROJECT = Row(
    name="ProjectId",
    kind="text",
    required=False,
    always=False,
    default="",
    limits="",
    description="the project that is looked at; a main user who leaves it out means the default one, a sub-user must name it",
    parts=None,
)
"""The parameter of Actions that look at a project."""


def who(action: Action[View]) -> str:
    """Who may call an Action: the least role that can."""
    return WHO[action.right]


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line."""
    line = " ".join(text.split("\n\n")[0].split())
    return line.partition(". ")[0].rstrip(".") + "." if line else ""


def parameters(action: Action[View]) -> list[Row]:
    """The parameters of an Action, without those that every request has."""
    rows = [PROJECT] if action.project else []
    for field, row in zip(structs.fields(action.request), rows_of(action.request), strict=True):
        limits = [row.limits, f"at most {MAX_ELEMENTS} elements" if row.kind.startswith("list of") else ""]
        rows.append(
            structs.replace(row, required=row.required or field.name in action.needs, limits=", ".join(filter(None, limits)))
        )
    return rows


@cache
def rows_of(kind: type[Struct]) -> tuple[Row, ...]:
    """The fields of a record."""
    told = inspect.type_info(kind)
    assert isinstance(told, inspect.StructType)
    return tuple(
        Row(
            name=field.encode_name,
            kind=_kind(field.type) + (" or null" if field.required and _nullable(field.type) else ""),
            required=field.required,
            always=own.default is not UNSET,
            default=_default(own.default),
            limits=", ".join(dict.fromkeys(_limits(field.type))),
            description=_description(field.type),
            parts=_parts(field.type),
        )
        for field, own in zip(told.fields, structs.fields(kind), strict=True)
    )


def nested(kind: type[Struct]) -> list[type[Struct]]:
    """The records that a record is made of, each once, in the order in which they are met."""
    found: dict[type[Struct], None] = {}
    for row in rows_of(kind):
        if row.parts is not None and row.parts not in found:
            found[row.parts] = None
            found.update(dict.fromkeys(nested(row.parts)))
    return list(found)


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value in (NODEFAULT, UNSET, None, ()) else str(value)


def _description(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra_json_schema or {}).get("description", "")) or _description(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(_description, kind.types)), "")
    return ""


def _kind(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _kind(kind.type)
        case inspect.UnionType():
            return " or ".join(_kind(part) for part in kind.types if not isinstance(part, inspect.NoneType))
        case inspect.StrType():
            return "text"
        case inspect.IntType():
            return "whole number"
        case inspect.FloatType():
            return "number"
        case inspect.BoolType():
            return "true or false"
        case inspect.EnumType():
            return " or ".join(choice.value for choice in kind.cls)
        case inspect.LiteralType():
            return " or ".join(map(str, kind.values))
        case inspect.VarTupleType():
            return f"list of {_kind(kind.item_type)}"
        case inspect.DictType():
            return f"map of {_kind(kind.value_type)}"
        case inspect.StructType():
            return kind.cls.__name__
    raise TypeError(f"{kind} has no name for people")


def _nullable(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.Metadata):
        return _nullable(kind.type)
    return isinstance(kind, inspect.UnionType) and kind.includes_none


def _limits(kind: inspect.Type) -> list[str]:
    match kind:
        case inspect.Metadata():
            return _limits(kind.type)
        case inspect.UnionType():
            return [limit for part in kind.types for limit in _limits(part)]
        case inspect.VarTupleType():
            return _limits(kind.item_type)
        case inspect.DictType():
            return _limits(kind.value_type)
        case inspect.IntType(ge=lowest, le=highest) | inspect.FloatType(ge=lowest, le=highest):
            if lowest is not None and highest is not None:
                return [f"{lowest} to {highest}"]
            return [f"at least {lowest}"] if lowest is not None else [f"at most {highest}"] if highest is not None else []
        case inspect.StrType():
            minimum = [f"at least {kind.min_length} characters"] if kind.min_length and kind.min_length > 1 else []
            minimum = ["not empty"] if kind.min_length == 1 else minimum
            limit = [f"at most {kind.max_length} characters"] if kind.max_length is not None else []
            return [*minimum, *limit, *([f"like {kind.pattern}"] if kind.pattern else [])]
    return []


def _parts(kind: inspect.Type) -> type[Struct] | None:
    match kind:
        case inspect.StructType():
            return kind.cls
        case inspect.Metadata():
            return _parts(kind.type)
        case inspect.VarTupleType():
            return _parts(kind.item_type)
        case inspect.DictType():
            return _parts(kind.value_type)
        case inspect.UnionType():
            return next(filter(None, map(_parts, kind.types)), None)
    return None
