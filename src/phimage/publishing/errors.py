"""Errors of publishing: the reasons why an image is not published.

PhimageError
├── ImageRefused        the bytes are not an image that may be published; a retry does not help
├── SourceAway          the source sends nothing at the moment; a later retry may help
├── JobLost             another worker has the job, or it was ended; the work of this one is dropped
└── Interrupted         this worker must stop; another one continues the job
"""

from __future__ import annotations

from collections.abc import Sequence

from phimage.errors import PhimageError
from phimage.formats.finding import Finding
from phimage.sources.errors import SourceInterrupted


class ImageRefused(PhimageError):
    """The bytes are not an image that may be published. The message has the findings and a remedy for the operator."""

    exit_code = 65


class SourceAway(PhimageError):
    """The source sends nothing at the moment, because of `cause`."""

    exit_code = 75

    def __init__(self, cause: SourceInterrupted) -> None:
        self.cause = cause
        super().__init__(str(cause))


class JobLost(PhimageError):
    """Another worker has the job, or it was ended."""


class Interrupted(PhimageError):
    """This worker must stop."""


def refused_for(findings: Sequence[Finding]) -> ImageRefused:
    """The refusal for at least one finding."""
    message = "; ".join(f"{finding.id}: {finding.text}" for finding in findings)
    allowed = [finding.id for finding in findings if finding.override]
    if len(allowed) == len(findings):
        options = " ".join(f"--override {id}" for id in allowed)
        message += f" (if that is meant, an operator can publish it with {options})"
    return ImageRefused(message)
