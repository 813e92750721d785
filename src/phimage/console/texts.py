"""The texts of the console in its languages, from the files `texts/LANGUAGE.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")
"""The languages, the default one first."""
_FOLDER = Path(__file__).parent / "texts"


class Texts:
    """The texts of one language, by keys such as `images.title`."""

    def __init__(self, language: str, entries: Mapping[str, str]) -> None:
        self.language = language
        self.entries = entries

    def __call__(self, key: str, count: int | None = None, **values: object) -> str:
        """A text with its values in it. `count` chooses between `KEY` and `KEY.one`. Raises KeyError for an unknown key."""
        if count == 1 and f"{key}.one" in self.entries:
            key = f"{key}.one"
        text = self.entries[key]
        if count is not None:
            values["count"] = f"{count:,}"
        return text.format(**values) if values else text

    def get(self, key: str) -> str:
        """A text that may be absent; empty if it is."""
        return self.entries.get(key, "")


@cache
def texts_of(language: str) -> Texts:
    """The texts of a language."""
    path = _FOLDER / f"{language}.toml"
    return Texts(language, dict(_flat(tomllib.loads(path.read_text(encoding="utf-8")))))


def choose_language(asked: str, cookie: str, accepted: str) -> str:
    """The language of a page: that of the address, else of the cookie, else the first one that the browser accepts."""
    for wish in (asked, cookie):
        if wish in LANGUAGES:
            return wish
    for part in accepted.split(","):
        wish = part.partition(";")[0].strip().partition("-")[0].lower()
        if wish in LANGUAGES:
            return wish
    return LANGUAGES[0]


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """The texts of nested tables by their dotted keys. The text of `KEY` beside `KEY.one` is `KEY.other` in the file."""
    entries: list[tuple[str, str]] = []
    for name, value in table.items():
        key = prefix.removesuffix(".") if name == "other" and "one" in table else prefix + name
        entries += _flat(value, f"{key}.") if isinstance(value, Mapping) else [(key, str(value))]
    return entries
