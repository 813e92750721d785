"""Sentences of the API, such as the reason of a failure, in the language of a page.

The API speaks English. The file `texts/sentences.LANGUAGE.toml` has its sentences as keys and their translations as values,
both with named places for what differs between two of them. A sentence that the file does not have stays English.

A place of an English sentence may say what it takes:

    {name}              any text, which stays as it is
    {name:number}       a number
    {name:word}         a text without spaces
    {name:name}         a text without `: ` and `; `, translated if it can be
    {name:text}         any text, translated if it can be
    {name:phrase}       a text of the table `phrases`
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

PHRASES = "phrases"
"""The table of what stands in a sentence alone."""
MAX_SENTENCE = 2000
MAX_READS = 400
MAX_DEPTH = 12
MAX_ENDS = 10_000
"""Limits of one sentence: its length, the texts in it that are read, the sentences around one of them, and the places where the
text of a place may end that are tried.

Tenants write some of the texts, and what is over a limit stays English.
"""
_CACHED = 1024
_FOLDER = Path(__file__).parent / "texts"
_NUMBER = re.compile(r"[-+]?[0-9][0-9a-fx.]*")


class SentencePlace(Struct, frozen=True):
    """A place of a sentence, and the text behind it."""

    name: str
    takes: str
    behind: str


class SentencePattern(Struct, frozen=True):
    """A sentence with places, and its translation."""

    begin: str
    places: tuple[SentencePlace, ...]
    translation: str

    @property
    def length(self) -> int:
        """The length of the text that the sentence has itself. The longest is tried first, and last what only joins others."""
        return len(self.begin) + sum(len(place.behind) for place in self.places)


# docs/decisions.md#sentences-of-the-api-are-translated-by-reading-them-back
def translate(text: Texts, sentence: str) -> str:
    """A sentence of the API in the language of the texts; empty if it has no translation."""
    if text.language == LANGUAGES[0]:
        return sentence
    return _translated(text.language, sentence) if len(sentence) <= MAX_SENTENCE else ""


@cache
def sentences_of(language: str) -> dict[str, dict[str, str]]:
    """The sentences of a language, by table."""
    return tomllib.loads((_FOLDER / f"sentences.{language}.toml").read_text(encoding="utf-8"))


@lru_cache(_CACHED)
def _translated(language: str, sentence: str) -> str:
    return SentenceReader(language).read(sentence)


@cache
def _patterns(language: str, is_phrase: bool) -> list[SentencePattern]:
    """The sentences, or the phrases, in the order in which they are tried."""
    tables = sentences_of(language)
    found = [
        _pattern(english, translation)
        for table, entries in tables.items()
        if (table == PHRASES) is is_phrase
        for english, translation in entries.items()
    ]
    return sorted(found, key=lambda pattern: -pattern.length)


def _pattern(english: str, translation: str) -> SentencePattern:
    begin, places = "", []
    name, takes = "", ""
    for literal, next_name, next_takes, _ in Formatter().parse(english):
        if name:
            places.append(SentencePlace(name, takes, literal))
        else:
            begin = literal
        name, takes = next_name or "", next_takes or ""
    if name:
        places.append(SentencePlace(name, takes, ""))
    return SentencePattern(begin, tuple(places), translation)


class SentenceReader:
    """Reads one sentence, and the texts in its places."""

    def __init__(self, language: str) -> None:
        self.reads = 0
        self.ends = 0
        self._language = language
        self._known: dict[tuple[bool, str], str] = {}

    def read(self, text: str, depth: int = 0, *, is_phrase: bool = False) -> str:
        """The translation of a sentence, or of a phrase; empty if it has none."""
        found = self._known.get((is_phrase, text))
        if found is None and self.reads < MAX_READS and depth < MAX_DEPTH:
            self.reads += 1
            found = self._known[is_phrase, text] = self._read(text, depth, is_phrase)
        return found or ""

    def _read(self, text: str, depth: int, is_phrase: bool) -> str:
        for pattern in _patterns(self._language, is_phrase):
            if text.startswith(pattern.begin) and all(place.behind in text for place in pattern.places):
                values = self._values(pattern.places, text[len(pattern.begin) :], {}, depth + 1)
                if values is not None:
                    return pattern.translation.format(**values)
        return ""

    def _values(self, places: tuple[SentencePlace, ...], text: str, found: dict[str, str], depth: int) -> dict[str, str] | None:
        """The translated values by their places; None for another text. A place that comes twice has one value."""
        if not places:
            return None if text else found
        place, rest = places[0], places[1:]
        end = text.find(place.behind, 1) if place.behind else len(text)
        while end > 0 and self.ends < MAX_ENDS:
            self.ends += 1
            value = self._value(place.takes, text[:end], depth)
            if value and found.get(place.name, value) == value:
                whole = self._values(rest, text[end + len(place.behind) :], {**found, place.name: value}, depth)
                if whole is not None:
                    return whole
            end = text.find(place.behind, end + 1) if place.behind else -1
        return None

    def _value(self, takes: str, text: str, depth: int) -> str:
        """A value in the language; empty if the place does not take it."""
        match takes:
            case "number":
                return text if _NUMBER.fullmatch(text) else ""
            case "word":
                return text if " " not in text else ""
            case "name":
                return "" if ": " in text or "; " in text else self.read(text, depth, is_phrase=True) or text
            case "text":
                return self.read(text, depth, is_phrase=True) or self.read(text, depth) or text
            case "phrase":
                return self.read(text, depth, is_phrase=True)
            case "sentence":
                return self.read(text, depth)
            case _:
                return text
