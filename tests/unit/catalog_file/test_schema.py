"""The JSON Schema that editors complete the file with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from phimage.catalog_file.document import json_schema


@pytest.fixture
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json_schema())
    return found


def test_it_says_which_json_schema_it_is(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "phimage catalogue"
    assert schema["$ref"] == "#/$defs/Document"


def test_it_is_the_same_text_each_time() -> None:
    assert json_schema() == json_schema()
    assert json_schema().endswith("}\n")


def test_every_field_is_described_and_no_other_is_allowed(schema: dict[str, Any]) -> None:
    for name, kind in schema["$defs"].items():
        assert kind["additionalProperties"] is False, name
        assert kind["description"], name
        for field, limits in kind["properties"].items():
            assert limits.get("description"), f"{name}.{field}"


def test_it_has_the_limits_that_the_reader_has(schema: dict[str, Any]) -> None:
    image = schema["$defs"]["ImageDoc"]

    assert image["properties"]["state"]["enum"] == ["Available", "Making", "Unavailable"]
    assert image["properties"]["size"] == {
        "description": "ImageSize: min size of the system disk in GB; 0 with a source: the size of its disk",
        "type": "integer",
        "minimum": 0,
        "maximum": 2147483647,
    }
    assert image["required"] == ["id", "name", "os_type", "os_name", "size", "created"]
    assert schema["$defs"]["Document"]["required"] == ["phimage"]
