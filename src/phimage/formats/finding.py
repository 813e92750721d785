"""Findings: what an examination finds in a file, and what that means for publishing it.

Every kind of finding is registered once, in the module of its format or in `kinds.py`, and listed in `table.py`.
docs/how-to/refused-images.md has a line for each kind; a test compares the two. Ids never change their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct

MAX_FINDINGS: Final = 50
MAX_TEXT: Final = 300

FETCH_AGAIN: Final = "download or copy it again and compare its digest"
REWRITE: Final = "write it again with the program that made it, or convert it to raw where you trust it"
FLATTEN: Final = "where you trust all of its files: `qemu-img convert -O qcow2 IN OUT` writes one that stands alone"


class Severity(StrEnum):
    """Refuse: not published unless overridden. Warn: published, with a warning to the operator. Note: worth knowing."""

    REFUSE = "refuse"
    WARN = "warn"
    NOTE = "note"


class FindingKind(Struct, frozen=True):
    """A kind of finding. With `override` an operator may publish the file nevertheless."""

    id: str
    severity: Severity
    override: bool
    meaning: str
    remedy: str


def refuses(id: str, meaning: str, remedy: str, *, override: bool = False) -> FindingKind:
    """A kind of finding that refuses the file."""
    return FindingKind(id, Severity.REFUSE, override, meaning, remedy)


def warns(id: str, meaning: str, remedy: str) -> FindingKind:
    """A kind of finding that warns the operator."""
    return FindingKind(id, Severity.WARN, False, meaning, remedy)


def notes(id: str, meaning: str, remedy: str) -> FindingKind:
    """A kind of finding that is worth knowing."""
    return FindingKind(id, Severity.NOTE, False, meaning, remedy)


class Finding(Struct, frozen=True):
    """A finding. `id` never changes its meaning; `text` says what this file has. Docs: how-to/refused-images.md."""

    id: str
    severity: Severity
    text: str
    override: bool


Detail = str | int | bool
"""A fact of a format, such as its version."""


class InspectionReport:
    """Collects the findings, details and virtual size of one file. Keeps one finding a kind, at most `MAX_FINDINGS` in all."""

    def __init__(self, kinds: Mapping[str, FindingKind]) -> None:
        """`kinds` are the registered kinds of findings by their ids: `table.KINDS`."""
        self.virtual_size: int | None = None
        self.details: dict[str, Detail] = {}
        self._kinds = kinds
        self._findings: dict[str, Finding] = {}

    def note(self, id: str, text: str) -> None:
        """Add a finding of a registered kind."""
        kind = self._kinds[id]
        if len(self._findings) < MAX_FINDINGS:
            self._findings.setdefault(id, Finding(id, kind.severity, text[:MAX_TEXT], kind.override))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the most severe first."""
        return tuple(sorted(self._findings.values(), key=lambda finding: list(Severity).index(finding.severity)))

    @property
    def refused(self) -> bool:
        """Whether any finding refuses the file."""
        return any(finding.severity is Severity.REFUSE for finding in self._findings.values())


def shown(name: bytes) -> str:
    """A name of an untrusted file for a message: quoted, short, printable."""
    text = name[:80].decode("utf-8", "replace")
    return '"' + "".join(letter if letter.isprintable() and letter != '"' else "?" for letter in text) + '"'
