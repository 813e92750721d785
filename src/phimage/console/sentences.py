"""Sentences of the API, such as the reason of a failure, in the language of a page.

The API speaks English. The file `texts/sentences.LANGUAGE.toml` has its sentences as keys and their translations as values,
both with named places for what differs between two of them. A sentence that the file does not have stays English.

A place of an English sentence may say what it takes:

    {name}              any text, which stays as it is
    {name:number}       a number
    {name:word}         a text without spaces
    {name:name}         a text without `: ` and `; `, translated if it can be
    {name:part}         any text, translated if it can be
    {name:known}        a text of the table `parts`
    {name:sentence}     another sentence that has a translation
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from string import Formatter

from msgspec import Struct

from phimage.console.texts import LANGUAGES, Texts

PARTS = "parts"
"""The table of what can only be a part of a sentence."""
MAX_SENTENCE = 2000
"""Longer texts stay English: reading them back could take long."""
_CACHED = 4096
_FOLDER = Path(__file__).parent / "texts"
_NUMBER = re.compile(r"[-+]?[0-9][0-9a-fx.]*")


class Place(Struct, frozen=True):
    """A place of a sentence, and the text behind it."""

    name: str
    takes: str
    behind: str


class Pattern(Struct, frozen=True):
    """A sentence with places, and its translation."""

    begin: str
    places: tuple[Place, ...]
    translation: str

    @property
    def length(self) -> int:
        """The length of the text that the sentence has itself. The longest is tried first, and last what only joins others."""
        return len(self.begin) + sum(len(place.behind) for place in self.places)


# docs/decisions.md#sentences-of-the-api-are-translated-by-their-texts
def translate(text: Texts, sentence: str) -> str:
    """A sentence of the API in the language of the texts; empty if it has no translation."""
    if text.language == LANGUAGES[0]:
        return sentence
    return _translated(text.language, False, sentence) if len(sentence) <= MAX_SENTENCE else ""


@cache
def sentences_of(language: str) -> dict[str, dict[str, str]]:
    """The sentences of a language, by table."""
    return tomllib.loads((_FOLDER / f"sentences.{language}.toml").read_text(encoding="utf-8"))


@lru_cache(_CACHED)
def _translated(language: str, is_part: bool, text: str) -> str:
    for pattern in _patterns(language, is_part):
        if all(place.behind in text for place in pattern.places) and text.startswith(pattern.begin):
            values = _values(language, pattern.places, text[len(pattern.begin) :], {})
            if values is not None:
                return pattern.translation.format(**values)
    return ""


@cache
def _patterns(language: str, is_part: bool) -> list[Pattern]:
    """The sentences, or the parts of sentences, in the order in which they are tried."""
    tables = sentences_of(language)
    found = [
        _pattern(english, translation)
        for table, entries in tables.items()
        if (table == PARTS) is is_part
        for english, translation in entries.items()
    ]
    return sorted(found, key=lambda pattern: -pattern.length)


def _pattern(english: str, translation: str) -> Pattern:
    begin, places = "", []
    name, takes = "", ""
    for literal, next_name, next_takes, _ in Formatter().parse(english):
        if name:
            places.append(Place(name, takes, literal))
        else:
            begin = literal
        name, takes = next_name or "", next_takes or ""
    if name:
        places.append(Place(name, takes, ""))
    return Pattern(begin, tuple(places), translation)


def _values(language: str, places: tuple[Place, ...], text: str, found: dict[str, str]) -> dict[str, str] | None:
    """The translated values of a text by their places; None for another text. A place that comes twice has one value."""
    if not places:
        return None if text else found
    place, rest = places[0], places[1:]
    end = text.find(place.behind, 1) if place.behind else len(text)
    while end > 0:
        value = _value(language, place.takes, text[:end])
        if value and found.get(place.name, value) == value:
            whole = _values(language, rest, text[end + len(place.behind) :], {**found, place.name: value})
            if whole is not None:
                return whole
        end = text.find(place.behind, end + 1) if place.behind else -1
    return None


def _value(language: str, takes: str, text: str) -> str:
    """A value in the language; empty if the place does not take it."""
    match takes:
        case "number":
            return text if _NUMBER.fullmatch(text) else ""
        case "word":
            return text if " " not in text else ""
        case "name":
            return "" if ": " in text or "; " in text else _translated(language, True, text) or text
        case "part":
            return _translated(language, True, text) or _translated(language, False, text) or text
        case "known":
            return _translated(language, True, text)
        case "sentence":
            return _translated(language, False, text)
        case _:
            return text
