"""The design pages agree with the code: rooms, walks, files that a change touches, decisions and words."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from phimage.reference.markdown import anchor

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "phimage"
DESIGN = (ROOT / "docs" / "design.md").read_text("utf-8")
DECISIONS = (ROOT / "docs" / "decisions.md").read_text("utf-8")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
WALKS = ("a list", "a publication", "a download")
NOT_ROOMS = {"__init__.py", "__main__.py"}
CHANGES = 10
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/how-to/*.md")])
"""The pages that are written by hand."""


def section(title: str) -> str:
    return DESIGN.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rooms_of(title: str) -> list[str]:
    """The rooms that a walk names, in its order."""
    return re.findall(r"\*\*`([\w./]+)`\*\*", section(title))


def code() -> str:
    files = [
        ROOT / "Makefile",
        ROOT / "pyproject.toml",
        *SOURCE.rglob("*.py"),
        *SOURCE.rglob("*.js"),
        *(ROOT / "tests").rglob("*.py"),
    ]
    return "\n".join(file.read_text("utf-8") for file in files if file != Path(__file__))


def test_the_table_of_rooms_has_every_room_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section("The rooms"), re.MULTILINE)
    rooms = {name.rstrip("/") for row in rows for name in re.findall(r"`([\w./]+)`", row)} - {"src/phimage"}

    found = {path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py")}  # a folder of bytecode alone is an old room
    assert rooms == found - NOT_ROOMS


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_names_every_room_once(walk: str) -> None:
    rooms = rooms_of(f"The walk of {walk}")

    assert len(rooms) >= 5
    assert [room for room, count in Counter(rooms).items() if count > 1] == []
    assert [room for room in rooms if f"| `{room}`" not in DESIGN] == []


def test_the_files_that_the_page_names_exist() -> None:
    rows = [row for row in section("Where a change goes").splitlines() if row.startswith("| ")][1:]
    files = re.findall(r"`([\w/]+/\w+\.py)`", DESIGN)

    assert len(rows) == CHANGES
    assert [file for file in files if not re.search("[A-Z]", file) and not (SOURCE / file).is_file()] == []


def test_a_column_of_images_touches_at_most_five_source_files() -> None:
    row = next(row for row in section("Where a change goes").splitlines() if row.startswith("| a column of images"))

    assert len(re.findall(r"`[\w/]+\.py`", row)) <= 5


def test_every_decision_is_linked_from_a_line_that_it_explains() -> None:
    headings = [anchor(heading) for heading in re.findall(r"^#{1,6} (.+)$", DECISIONS, re.MULTILINE)]
    decisions = {anchor(heading) for heading in re.findall(r"^### (.+)$", DECISIONS, re.MULTILINE)}

    assert [heading for heading, count in Counter(headings).items() if count > 1] == []
    assert set(re.findall(r"docs/decisions\.md#([\w-]+)", code())) == decisions


def test_the_glossary_has_one_sentence_for_each_word() -> None:
    terms = re.findall(r"^- \*\*(.+?)\*\*: (.+(?:\n  .+)*)", GLOSSARY, re.MULTILINE)

    assert len(terms) == GLOSSARY.count("\n- ")
    assert [term for term, count in Counter(term for term, _ in terms).items() if count > 1] == []
    assert [term for term, text in terms if not text.endswith(".") or re.search(r"\. [A-Z]", text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_are_in_plain_words(page: Path) -> None:
    assert re.findall(r"\b[Ww]hoever\b|\btold\b|\bknows nothing\b|\bcomes to\b|\blets go\b", page.read_text("utf-8")) == []
