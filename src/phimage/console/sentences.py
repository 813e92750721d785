"""Sentences of the API, such as the reasons of an explanation, in the language of a page.

The API speaks English. Its sentences are the texts `sentences.*` and `sentence_parts.*` of the English file, with a value where
they have one; the same text of another language is the translation. A sentence that no text has stays English.
"""

from __future__ import annotations

import re
from functools import cache
from string import Formatter

from phimage.console.texts import LANGUAGES, Texts, texts_of

_SENTENCES = "sentences."
_PARTS = "sentence_parts."


# docs/decisions.md#sentences-of-the-api-are-translated-by-their-texts
def translate(text: Texts, sentence: str) -> str:
    """A sentence of the API in the language of the texts; empty if it has no translation."""
    if text.language == LANGUAGES[0]:
        return sentence
    return _translated(text, sentence, _SENTENCES)


def _translated(text: Texts, sentence: str, prefix: str) -> str:
    for key, pattern in _patterns(prefix):
        if found := pattern.fullmatch(sentence):
            values = {name: _translated(text, value, _PARTS) or value for name, value in found.groupdict().items()}
            return text.entries[key].format(**values)
    return ""


@cache
def _patterns(prefix: str) -> list[tuple[str, re.Pattern[str]]]:
    """The texts that a sentence can be, in the order of the file."""
    texts = texts_of(LANGUAGES[0]).entries
    return [(key, re.compile(_pattern(text))) for key, text in texts.items() if key.startswith(prefix)]


def _pattern(text: str) -> str:
    """A value that comes twice must be the same both times."""
    parts, seen = [], set[str]()
    for literal, name, _, _ in Formatter().parse(text):
        parts.append(re.escape(literal))
        if name:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
            seen.add(name)
    return "".join(parts)
