"""One meaning a word, and the field's own terms: what `docs/glossary.md` and CONTRIBUTING ask of names and sentences."""

from __future__ import annotations

import ast
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "phimage"
FILES = sorted(SOURCE.rglob("*.py"))

SENTENCES = {
    r"\b(is|are|was|were|be|been) told\b": "say who returns, raises or reports it",
    r"\b[Tt]ells?\b": "say, name, report, return, raise",
    r"\b[Hh]ears?\b": "say what it receives",
    r"\bknows? nothing\b": "say what it does not use",
    r"\b[Ww]hoever\b": "name the subject: the caller, the client, a tenant",
    r"\bcomes? to\b": "say what it returns",
    r"\bMOST_|\bmost_(?!common\b)": "max",
}
"""What no docstring, comment or message says, and what to say instead."""

EXCEPT = {r"\bMOST_|\bmost_(?!common\b)": ("settings.py",)}  # which lists the old names of settings

OLD_NAMES = {
    *(
        "Announcement",
        "Asked",
        "Chore",
        "Content",
        "Door",
        "Facts",
        "Flight",
        "Hold",
        "Household",
        "Inquiry",
        "Lines",
        "Memory",
    ),
    *("MustWait", "NotYet", "Packing", "Packs", "Question", "Seal", "Swept", "Touches", "Watch"),
    *(
        "age_to_tell",
        "as_wanted",
        "carry_out",
        "household",
        "lame_duck_seconds",
        "packs_mb",
        "recall",
        "reserve_mb",
        "tell_news",
    ),
    *("DRIVERS", "INSPECTORS", "OPTIONS", "STATED"),
}
"""Names that were given up for the field's terms."""
SHORT_FILES = {
    "__main__.py": "`python -m phimage`",
    "reference/__main__.py": "`python -m phimage.reference`",
    "catalog/migrations/env.py": "alembic looks for it",
    "actions/console_login.py": "one noun a file",
    "cli/console.py": "one command a file",
    "console/headers.py": "the security of pages in one place",
    "console/pages/quotas.py": "one page a file",
    "console/session.py": "the protocol between pages and where sessions are kept",
    "agent/disk_list.py": "a command of the agent, imported when it is given",
    "chunks/prefetch.py": "four rooms use it",
    "publishing/progress.py": "the protocol between the pipeline and whatever runs it",
}
"""Files of at most 40 lines, each with its reason. A step of the schema is always a file."""


def test_sentences_are_plain() -> None:
    found = [
        f"{file.relative_to(SOURCE)}:{line}: {match[0]!r}: {instead}"
        for file in FILES
        for line, text in _prose(file)
        for pattern, instead in SENTENCES.items()
        if (match := re.search(pattern, text)) and file.name not in EXCEPT.get(pattern, ())
    ]
    assert found == []


def test_every_class_has_a_name_of_its_own() -> None:
    places = defaultdict(list)
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(SOURCE)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_old_name_is_left() -> None:
    found = {
        f"{file.relative_to(ROOT)}: {token.string}"
        for file in FILES
        for token in _tokens(file)
        if token.type == tokenize.NAME and token.string in OLD_NAMES
    }
    assert found == set()


def test_a_file_is_worth_opening() -> None:
    short = {
        str(file.relative_to(SOURCE))
        for file in FILES
        if file.name != "__init__.py" and file.parent.name != "versions" and len(file.read_text("utf-8").splitlines()) <= 40
    }
    assert short == SHORT_FILES.keys()


def _tokens(file: Path) -> Iterator[tokenize.TokenInfo]:
    with file.open("rb") as opened:
        yield from tokenize.tokenize(opened.readline)


def _prose(file: Path) -> Iterator[tuple[int, str]]:
    """Comments and texts, each with its line."""
    for token in _tokens(file):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield from enumerate(token.string.splitlines(), token.start[0])
