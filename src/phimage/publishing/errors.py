"""Why an image is not published.

PhimageError
├── ImageRefused        the bytes are no image that may be published; trying the same again does not help
├── SourceAway          the source gives nothing now; trying again later may help
├── JobLost             another worker has the job, or it was ended: what this one did counts for nothing
└── Interrupted         this worker is to stop; the job goes on with another one
"""

from __future__ import annotations

from collections.abc import Sequence

from phimage.errors import PhimageError
from phimage.formats.finding import Finding
from phimage.sources.errors import SourceInterrupted


class ImageRefused(PhimageError):
    """The bytes are no image that may be published. The text is for the operator: what was found, and what to do."""

    exit_code = 65


class SourceAway(PhimageError):
    """The source gives nothing now. `broken` says why."""

    exit_code = 75

    def __init__(self, broken: SourceInterrupted) -> None:
        self.broken = broken
        super().__init__(str(broken))


class JobLost(PhimageError):
    """Another worker has the job, or it was ended."""


class Interrupted(PhimageError):
    """This worker is to stop."""


def refused_for(findings: Sequence[Finding]) -> ImageRefused:
    """The refusal for findings, which there are."""
    told = "; ".join(f"{finding.id}: {finding.text}" for finding in findings)
    allowed = [finding.id for finding in findings if finding.override]
    if len(allowed) == len(findings):
        told += f" (publish again with {' '.join(f'--override {id}' for id in allowed)} if that is meant)"
    return ImageRefused(told)
