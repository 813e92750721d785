"""Texts are quoted exactly where YAML would read something else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from phimage.catalog_file.yaml_writer import field, text
from tests.unit.catalog_file.catalogues import ODD, texts


@pytest.mark.parametrize(
    "plain",
    [
        "CentOS 7.9 64位",
        "8.5.2111",
        "10.0.17763",
        "cn-bj2-02",
        "25G",
        "v1.0",
        "DB-2",
        "it's",
        "a:b",
        "C#",
        "华北（北京）",
        "👩‍💻",
        "a - b",
        "A, B",
    ],
)
def test_ordinary_texts_are_not_quoted(plain: str) -> None:
    assert text(plain) == plain


@pytest.mark.parametrize(
    "retyped",
    [
        "yes",
        "No",
        "null",
        "~",
        "",
        "1e3",
        "8.10",
        "017",
        "0o17",
        "0x1F",
        ".5",
        "1_000",
        "1:30",
        "2026-11-01",
        ".inf",
        "=",
        "<<",
        "y",
    ],
)
def test_what_yaml_would_read_as_something_else_is_quoted(retyped: str) -> None:
    assert text(retyped) == f'"{retyped}"'


def test_invisible_characters_are_escaped() -> None:
    assert text("\u061c\u200e\u2066\u2069") == r'"\u061c\u200e\u2066\u2069"'
    assert text("a\x1b\x7f\x85\u00a0\u2028\u202e\ufeffb") == r'"a\u001b\x7f\x85\xa0\u2028\u202e\ufeffb"'


@given(texts(allowed="any"))
@example("a: ,b")
def test_yaml_reads_every_text_back(value: str) -> None:
    for written in (f"- {text(value)}", f"- [{text(value, flow=True)}]", f"- {{a: {text(value, flow=True)}}}"):
        found = yaml.safe_load(written)
        assert found in ([value], [[value]], [{"a": value}])
    assert yaml.safe_load("\n".join(["a:", *field("b", value, 2), "c: 1"])) == {"a": {"b": value}, "c": 1}


@given(st.from_regex(r"\A[-+]?[0-9._:eExXoabfnITZ -]{1,12}\Z") | texts(allowed="any"))
def test_what_another_reader_would_retype_is_quoted(value: str) -> None:
    resolver: Any = yaml.SafeLoader("")
    if resolver.resolve(yaml.ScalarNode, value, (True, False)) != "tag:yaml.org,2002:str":
        assert text(value).startswith('"')


@pytest.mark.parametrize("value", ODD)
def test_every_odd_text_comes_back_below_a_name(value: str) -> None:
    assert yaml.safe_load("\n".join([*field("name", value, 0), ""])) == {"name": value}
