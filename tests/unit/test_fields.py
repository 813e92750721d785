"""The description of record types, and the JSON Schema of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from msgspec import UNSET, Meta, Struct, UnsetType, field

from phimage.fields import by_setting, fields_of, nested_records, shared_values
from phimage.json_schema import record_schema


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    """Inside of another record."""

    name: Annotated[str, Meta(min_length=1, max_length=9, description="its name")]


class Outer(Struct, rename="pascal", frozen=True, kw_only=True):
    """One field of each shape."""

    text: Annotated[str, Meta(pattern="^a", description="a text")]
    count: Annotated[int, Meta(ge=0, le=9)] = 3
    least: Annotated[int, Meta(ge=1)] = 1
    weight: float | None = None
    colour: Colour = Colour.RED
    format: Literal[1] = 1
    inner: tuple[Inner, ...] = ()
    by_name: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: bool | UnsetType = UNSET


def test_every_shape_is_described() -> None:
    described = {one.attribute: one for one in fields_of(Outer)}

    assert {name: one.type.shape for name, one in described.items()} == {
        "text": "text",
        "count": "integer",
        "least": "integer",
        "weight": "number",
        "colour": "choice",
        "format": "choice",
        "inner": "list",
        "by_name": "map",
        "left_out": "boolean",
    }
    assert [one.name for one in described.values() if one.required] == ["Text"]
    assert [one.name for one in described.values() if not one.always] == ["LeftOut"]
    assert [one.name for one in described.values() if one.type.nullable] == ["Weight"]
    assert described["count"].default == 3
    assert described["by_name"].type.innermost.shape == "integer"


def test_a_range_and_an_expectation_are_the_same_words_everywhere() -> None:
    expected = {one.attribute: one.type.expected for one in fields_of(Outer)}

    assert expected["count"] == "a whole number from 0 to 9"
    assert expected["least"] == "a whole number of at least 1"
    assert expected["colour"] == "one of red, blue"
    assert expected["format"] == "1"
    assert expected["left_out"] == "true or false"


def test_nested_records_are_found_inside_of_lists() -> None:
    assert nested_records(Outer) == [Inner]


class Chosen(Struct, frozen=True):
    """Settings."""

    strict: bool
    longest: int


class Page(Struct, frozen=True):
    """A request whose limits depend on settings."""

    zone: Annotated[str, Meta(extra=by_setting(required="strict"))] | None = None
    limit: Annotated[int, Meta(ge=0, extra=by_setting(max="longest", default="longest"))] | None = None


@pytest.mark.parametrize("strict", [True, False])
def test_a_setting_decides_about_limits_defaults_and_requirements(strict: bool) -> None:
    zone, limit = fields_of(Page, Chosen(strict=strict, longest=7))

    assert (zone.required, zone.type.nullable) == (strict, not strict)
    assert (limit.default, limit.type.range) == (7, "0 to 7")


def test_a_type_without_a_description_is_an_error() -> None:
    class Wrong(Struct):
        when: set[int]

    with pytest.raises(TypeError, match="not supported"):
        fields_of(Wrong)


def test_values_are_shared_by_the_name_of_the_field() -> None:
    class Other(Struct):
        name: str
        size: int = 0

    assert shared_values(Inner("a"), Other) == {"name": "a"}


def test_a_json_schema_has_the_limits_and_the_defaults() -> None:
    schema: Any = record_schema(Outer, "#/$defs/")

    assert schema["required"] == ["Text"]
    assert "additionalProperties" not in schema
    assert schema["properties"] == {
        "Text": {"description": "a text", "type": "string", "pattern": "^a"},
        "Count": {"type": "integer", "minimum": 0, "maximum": 9, "default": 3},
        "Least": {"type": "integer", "minimum": 1, "default": 1},
        "Weight": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "Colour": {"enum": ["blue", "red"], "default": "red"},
        "Format": {"enum": [1], "default": 1},
        "Inner": {"type": "array", "items": {"$ref": "#/$defs/Inner"}},
        "ByName": {"type": "object", "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}}},
        "LeftOut": {"type": "boolean"},
    }
    assert record_schema(Inner, "")["additionalProperties"] is False
