"""Every finding is explained on its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phimage.formats.finding import FindingKind, Severity
from phimage.formats.table import KINDS
from tests.formats.cases import CASES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "refused-images.md"


def line(kind: FindingKind) -> str:
    """The page's line about a finding."""
    severity = {Severity.REFUSE: "refused", Severity.WARN: "warning", Severity.NOTE: "note"}[kind.severity]
    return f"| `{kind.id}` | {severity}{', override' if kind.override else ''} | {kind.meaning} | {kind.remedy} |"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_finding_has_its_line_on_the_page(kind: FindingKind) -> None:
    assert line(kind) in PAGE.read_text("utf-8").splitlines()


def test_the_page_has_no_line_for_a_finding_that_there_is_not() -> None:
    named = re.findall(r"^\| `([a-z0-9-]+\.[a-z0-9-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(KINDS)


def test_every_finding_that_refuses_has_a_file_that_shows_it() -> None:
    shown = set().union(*(case.refused for case in CASES))
    elsewhere = {"disk.nested", "examination.limit", "inspectors.disagree", "stated.mismatch", "stated.unknown"}
    refusing = {kind.id for kind in KINDS.values() if kind.severity is Severity.REFUSE}
    assert shown | elsewhere == refusing
