"""What goes wrong in this room.

    PhimageError
    └── FormatError             the bytes, or the program that reads them
        ├── Malformed               the bytes break a rule of the format that they claim
        │   └── Truncated               the file ends before what its own tables promise
        ├── TooLong                 the examination would read more than its limit
        ├── OutOfSight              only the head of the file is here, and the answer is behind it
        └── QemuFailed              qemu-img gave up; the text has its last line
            └── QemuStopped             it was killed at a limit

`examine` turns the first four into findings, so callers of it meet `QemuFailed` only from `convert`.
"""

from __future__ import annotations

from phimage.errors import PhimageError


class FormatError(PhimageError):
    """The bytes are not what they should be, or cannot be read."""


class Malformed(FormatError):
    """The bytes break a rule of the format that they claim."""


class Truncated(Malformed):
    """The file ends before what its own tables promise."""


class TooLong(FormatError):
    """The examination would read more than its limit."""


class OutOfSight(FormatError):
    """Only the head of the file is here, and the answer is behind it."""


class QemuFailed(FormatError):
    """qemu-img gave up. The text has its last line."""


class QemuStopped(QemuFailed):
    """qemu-img was killed because it reached a limit."""
