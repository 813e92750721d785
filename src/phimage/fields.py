"""One description of record types for decoding, OpenAPI, the reference pages and the catalogue file.

`fields_of` walks the annotations of a msgspec record. A max, a default or a requirement that depends on a
setting names it: `Meta(extra=by_setting(max="max_limit", default="default_limit"))`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from msgspec import NODEFAULT, UNSET, Struct, inspect, structs
from msgspec.structs import replace

from phimage.control_characters import Allowed

Shape = Literal["text", "integer", "number", "boolean", "choice", "list", "map", "record"]

_FROM_SETTINGS = "by_setting"
_CONTROLS = "controls"


# docs/decisions.md#types-are-described-once
class ValueType(Struct, frozen=True, kw_only=True):
    """The type of a value with its limits.

    `min` and `max` limit a number, both inclusive; `min_length`, `max_length` (characters) and `pattern` a text. `choices` are
    the values of a choice: enum members or literals. `item` is the type of the elements of a list or the values of a map,
    whose keys are text. `record` is the class of a record. `controls` are the control characters that a text may have.
    """

    shape: Shape
    nullable: bool = False
    description: str = ""
    min: int | float | None = None
    max: int | float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    choices: tuple[Any, ...] = ()
    item: ValueType | None = None
    record: type[Struct] | None = None
    settings: dict[str, str] = {}
    controls: Allowed = "none"

    @property
    def range(self) -> str:
        """The limits of a number, such as `0 to 1000`; empty for none."""
        if self.min is not None and self.max is not None:
            return f"{self.min} to {self.max}"
        return f"at least {self.min}" if self.min is not None else f"at most {self.max}" if self.max is not None else ""

    @property
    def expected(self) -> str:
        """The expected value in the words of an error message: `a whole number from 0 to 1000`."""
        if self.shape == "choice":
            choices = ", ".join(map(str, self.choices))
            return f"one of {choices}" if len(self.choices) > 1 else choices
        noun = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}.get(self.shape, "a text")
        both = self.min is not None and self.max is not None
        return f"{noun} {'from' if both else 'of'} {self.range}" if self.range else noun

    @property
    def innermost(self) -> ValueType:
        """The element type of nested lists and maps; the type itself if it is neither."""
        return self if self.item is None else self.item.innermost


class Field(Struct, frozen=True, kw_only=True):
    """A field of a record: `attribute` in Python, `name` on the wire or in the file.

    `always`: a response never omits the field. `default` is None for a required field and for a default of null.
    """

    attribute: str
    name: str
    type: ValueType
    required: bool
    always: bool
    default: Any


# docs/decisions.md#a-limit-that-a-setting-chooses-is-named-at-the-field
def by_setting(**names: str) -> dict[str, Any]:
    """The `Meta.extra` of a value whose `max`, `default` or `required` is that of a setting: the names of the settings."""
    return {_FROM_SETTINGS: names}


def with_controls(allowed: Allowed) -> dict[str, Any]:
    """The `Meta.extra` of a text that may have control characters."""
    return {_CONTROLS: allowed}


@cache
def fields_of(record: type[Struct], settings: Struct | None = None) -> tuple[Field, ...]:
    """The fields of a record. `settings` is needed for a record whose fields refer to settings."""
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)
    return tuple(
        _field(described, own.default, settings) for described, own in zip(info.fields, structs.fields(record), strict=True)
    )


def shared_values(record: Struct, other: type[Struct]) -> dict[str, Any]:
    """The values of the fields that a record shares by name with another record type."""
    return {name: getattr(record, name) for name in record.__struct_fields__ if name in other.__struct_fields__}


def nested_records(record: type[Struct]) -> list[type[Struct]]:
    """The records inside a record, each once, in the order of the fields."""
    nested: dict[type[Struct], None] = {}
    for field in fields_of(record):
        inner = field.type.innermost.record
        if inner is not None and inner not in nested:
            nested[inner] = None
            nested.update(dict.fromkeys(nested_records(inner)))
    return list(nested)


def _field(described: inspect.Field, own_default: Any, settings: Struct | None) -> Field:
    type_ = value_type(described.type)
    default = described.default_factory() if described.default_factory is not NODEFAULT else described.default
    chosen = {limit: getattr(settings, name) for limit, name in type_.settings.items()}
    required = chosen.get("required", described.required)
    return Field(
        attribute=described.name,
        name=described.encode_name,
        type=replace(type_, max=chosen.get("max", type_.max), nullable=type_.nullable and not chosen.get("required")),
        required=required,
        always=own_default is not UNSET,
        default=chosen.get("default", None if default in (NODEFAULT, UNSET) else default),
    )


def value_type(info: inspect.Type) -> ValueType:
    """The description of a type. Raises TypeError for a type that is not supported."""
    match info:
        case inspect.Metadata(type=inner, extra_json_schema=schema, extra=extra):
            type_ = value_type(inner)
            description = str((schema or {}).get("description", "")) or type_.description
            return replace(
                type_,
                description=description,
                settings=(extra or {}).get(_FROM_SETTINGS, type_.settings),
                controls=(extra or {}).get(_CONTROLS, type_.controls),
            )
        case inspect.UnionType(types=(inner, inspect.NoneType())):
            return replace(value_type(inner), nullable=True)
        case inspect.StrType():
            return ValueType(shape="text", min_length=info.min_length, max_length=info.max_length, pattern=info.pattern)
        case inspect.IntType(ge=minimum, le=maximum):
            return ValueType(shape="integer", min=minimum, max=maximum)
        case inspect.FloatType(ge=minimum, le=maximum):
            return ValueType(shape="number", min=minimum, max=maximum)
        case inspect.BoolType():
            return ValueType(shape="boolean")
        case inspect.EnumType(cls=cls):
            return ValueType(shape="choice", choices=tuple(cls))
        case inspect.LiteralType(values=values):
            return ValueType(shape="choice", choices=tuple(values))
        case inspect.VarTupleType(item_type=item):
            return ValueType(shape="list", item=value_type(item))
        case inspect.DictType(value_type=item):
            return ValueType(shape="map", item=value_type(item))
        case inspect.StructType(cls=cls):
            return ValueType(shape="record", record=cls)
    raise TypeError(f"{info} is not supported in a record: see phimage.fields")
