"""What was found in a file, and what that means for publishing it."""

from __future__ import annotations

from msgspec import Struct

from phimage.formats.kinds import KINDS, Severity

__all__ = ["Finding", "Report", "Severity", "shown"]

MOST = 50
LONGEST = 300


class Finding(Struct, frozen=True):
    """A finding. `id` never changes its meaning; `text` says what this file has. Docs: how-to/refused-images.md."""

    id: str
    severity: Severity
    text: str
    override: bool


Detail = str | int | bool
"""A fact of a format, such as its version."""


class Report:
    """Collects what a reader of one format finds. A finding noted again is one; after `MOST` no more are kept."""

    def __init__(self) -> None:
        self.virtual_size: int | None = None
        self.details: dict[str, Detail] = {}
        self._found: dict[str, Finding] = {}

    def note(self, id: str, text: str) -> None:
        """Add a finding. Its severity is registered under its id."""
        kind = KINDS[id]
        if len(self._found) < MOST:
            self._found.setdefault(id, Finding(id, kind.severity, text[:LONGEST], kind.override))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the worst first."""
        return tuple(sorted(self._found.values(), key=lambda finding: list(Severity).index(finding.severity)))

    @property
    def refused(self) -> bool:
        """Whether any finding refuses the file."""
        return any(finding.severity is Severity.REFUSE for finding in self._found.values())


def shown(name: bytes) -> str:
    """A name out of an untrusted file, for a message: quoted, short, and nothing that a terminal would obey."""
    text = name[:80].decode("utf-8", "replace")
    return '"' + "".join(letter if letter.isprintable() and letter != '"' else "?" for letter in text) + '"'
