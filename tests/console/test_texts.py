"""The texts of the console: both languages say everything, and nothing is said beside them."""

from __future__ import annotations

import re
import string
import tomllib
from pathlib import Path

import pytest

from phimage.catalog.history import TABLES
from phimage.console import texts
from phimage.console.navigation import AREAS
from phimage.console.texts import LANGUAGES, choose_language, texts_of
from phimage.model.image import RULES

FOLDER = Path(texts.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").glob("*.html"))
JINJA = re.compile(r"{%.*?%}|{{.*?}}|{#.*?#}", re.DOTALL)
TAG = re.compile(r"<[^>]*>", re.DOTALL)
SPOKEN = re.compile(r"""\s(?:title|placeholder|aria-label|alt|label)="([^"]*)\"""")
USED = re.compile(r"""\bt\(\s*'([a-z_.0-9]+)'(?!\s*[+~])""")
# Commands and ids stay as they are in every language, and so do these names.
UNTRANSLATED = {"phimage", "RetCode", "Action", "Enter", "j", "k", "g", "·", "GB", "UTC", "debian-12"}


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    first, *others = (texts_of(language).entries for language in LANGUAGES)

    for other in others:
        assert list(other) == list(first)
        for key in first:
            assert values(other[key]) == values(first[key]), key
            assert other[key].strip(), key


def values(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_literal_text(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    spoken = [JINJA.sub("", text) for text in SPOKEN.findall(re.sub(r"{#.*?#}", "", source, flags=re.DOTALL))]
    written = TAG.sub(" ", JINJA.sub(" ", re.sub(r"<(script|style|code|pre)\b.*?</\1>", "", source, flags=re.DOTALL)))

    words = {word for word in re.split(r"[\s,.:;()/&=+−—→✓✗%×·?]+", " ".join([*spoken, written])) if word}

    assert {word for word in words - UNTRANSLATED if re.search(r"[^\W\d_]", word)} == set()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_uses_texts_that_exist(path: Path) -> None:
    entries = texts_of("en").entries

    assert {key for key in USED.findall(path.read_text(encoding="utf-8")) if key not in entries} == set()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_that_the_policy_forbids(path: Path) -> None:
    source = path.read_text(encoding="utf-8")

    assert not re.search(r"\sstyle\s*=|\son[a-z]+\s*=\s*\"|hx-on|javascript:|<style|\|\s*safe|autoescape", source)
    assert all(re.search(r"\ssrc=\"{{ static", tag) for tag in re.findall(r"<script[^>]*>", source))
    assert not re.search(r"hx-trigger=\"[^\"]*\[", source), "trigger filters are evaluated"


def test_every_name_that_the_catalogue_has_can_be_said() -> None:
    entries = texts_of("zh").entries

    assert [
        rule.name for rule in RULES if f"rules.{rule.name}" not in entries or f"rules_sign.{rule.name}" not in entries
    ] == []
    assert [noun for noun in TABLES if f"nouns.{noun}" not in entries] == []
    assert [area.name for area in AREAS if f"areas.{area.name}" not in entries] == []


def test_the_files_of_texts_are_sorted_alike() -> None:
    tables = [list(tomllib.loads((FOLDER / "texts" / f"{language}.toml").read_text())) for language in LANGUAGES]

    assert all(table == tables[0] for table in tables)


@pytest.mark.parametrize(
    ("asked", "cookie", "accepted", "language"),
    [
        ("zh", "en", "en", "zh"),
        ("", "zh", "en", "zh"),
        ("", "", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "", "fr-FR,fr;q=0.9", "en"),
        ("xx", "<", "", "en"),
    ],
)
def test_a_language_is_that_of_the_address_then_of_the_cookie_then_of_the_browser(
    asked: str, cookie: str, accepted: str, language: str
) -> None:
    assert choose_language(asked, cookie, accepted) == language


def test_one_and_many_have_their_own_words() -> None:
    say = texts_of("en")

    assert say("images.count", count=1) == "1 image"
    assert say("images.count", count=1200) == "1,200 images"
