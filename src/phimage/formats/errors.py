"""Errors of formats.

    PhimageError
    └── FormatError             the bytes, or the program that reads them
        ├── Malformed               the bytes break a rule of their format
        │   └── Truncated               the file ends before data that its own tables declare
        ├── ReadLimitExceeded       the examination would read more than its limit
        ├── BeyondHead              only the head of the file has arrived, and the bytes are behind it
        └── QemuFailed              qemu-img failed; the text has its last line
            └── QemuStopped             qemu-img was killed at a limit

`examine` turns the first four into findings, so its callers see `QemuFailed` only from `convert`.
"""

from __future__ import annotations

from phimage.errors import PhimageError


class FormatError(PhimageError):
    """The bytes are not what they should be, or cannot be read."""


class Malformed(FormatError):
    """The bytes break a rule of their format."""


class Truncated(Malformed):
    """The file ends before data that its own tables declare."""


class ReadLimitExceeded(FormatError):
    """The examination would read more than its limit."""


class BeyondHead(FormatError):
    """Only the head of the file has arrived, and the bytes are behind it."""


class QemuFailed(FormatError):
    """qemu-img failed. The text has its last line."""


class QemuStopped(QemuFailed):
    """qemu-img was killed at a limit."""
