"""Which characters a text may not have, and how they are shown."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.control_characters import escape, escape_json, find_control

BIDIRECTIONAL = [0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


def test_they_are_those_that_unicode_calls_controls_separators_or_marks_of_direction() -> None:
    for code in range(sys.maxunicode + 1):
        expected = unicodedata.category(chr(code)) in ("Cc", "Zl", "Zp") or code in BIDIRECTIONAL
        assert bool(find_control(f"a{chr(code)}")) == expected, hex(code)


def test_the_first_one_is_named() -> None:
    assert find_control("ab\u202ec\x1b") == "U+202E"
    assert find_control("镜像 é 👩\u200d💻 שלום") == ""


@pytest.mark.parametrize(("text", "found"), [("a\tb\nc", ""), ("a\rb", "U+000D"), ("a\n\x1b", "U+001B"), ("a\u2028", "U+2028")])
def test_lines_may_have_tabs_and_line_feeds(text: str, found: str) -> None:
    assert find_control(text, "lines") == found
    assert find_control(text, "any") == ""


def test_they_are_shown_as_escapes() -> None:
    text = "a\x1b[31m\x7f\x9b\t\n\u061c\u202e镜"

    assert escape(text) == r"a\x1b[31m\x7f\x9b\x09\x0a\u061c\u202e镜"
    assert escape(text, lines=True) == "a\\x1b[31m\\x7f\\x9b\t\n\\u061c\\u202e镜"


@given(st.text())
def test_an_escaped_text_has_none(text: str) -> None:
    assert find_control(escape(text)) == ""
    assert find_control(escape(text, lines=True), "lines") == ""


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_without_them_is_the_same_json(value: object) -> None:
    shown = escape_json(json.dumps(value, ensure_ascii=False, indent=2))

    assert json.loads(shown) == value
    assert find_control(shown, "lines") == ""
