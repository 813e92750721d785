"""The JSON Schema of a catalogue file, for editors."""

from __future__ import annotations

import json

import msgspec

from phimage.catalog_file.document import Document


def json_schema() -> str:
    """The schema (JSON Schema 2020-12), made from the types that the reader follows."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "phimage catalogue",
        **msgspec.json.schema(Document),
    }
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
