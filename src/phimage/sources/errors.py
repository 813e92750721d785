"""Errors of sources: what can go wrong with bytes before they are an image.

    PhimageError
    └── SourceError         a retry does not help
        ├── UrlRefused          the policy forbids a URL, an address behind it, or a redirect
        ├── ResponseRefused     the response is not an image
        ├── TooLarge            more bytes than the limit, or than the free space
        ├── SourceInterrupted   the bytes stopped; received bytes are kept, and the same call resumes
        ├── SourceChanged       the bytes changed since the beginning
        ├── DigestRefused       an unusable digest or checksum file
        ├── DigestMismatch      the bytes do not have the expected digest
        └── UnpackRefused       compressed bytes that are damaged, cut short, followed by others, or a bomb

Each message names the source (without credentials and query values), what happened where, and a remedy.
"""

from __future__ import annotations

from typing import ClassVar

from phimage.errors import PhimageError


class SourceError(PhimageError):
    """The source is unusable. `reason` is a short word for programs; its meaning never changes."""

    exit_code: ClassVar[int] = 65

    def __init__(
        self, where: str, what: str, remedy: str = "", *, reason: str, status: int | None = None, offset: int | None = None
    ) -> None:
        """`where` names the source without secrets, `status` is that of HTTP, `offset` a position in the original bytes."""
        self.where = where
        self.what = what
        self.remedy = remedy
        self.reason = reason
        self.status = status
        self.offset = offset
        super().__init__(where, what)

    def __str__(self) -> str:
        place = [f"HTTP {self.status}"] if self.status is not None else []
        place += [f"at byte {self.offset}"] if self.offset is not None else []
        detail = f" ({', '.join(place)})" if place else ""
        return f"{self.where}: {self.what}{detail}" + (f"; {self.remedy}" if self.remedy else "")


class UrlRefused(SourceError):
    """The policy forbids a URL, an address behind it, or a redirect. No request was sent there."""


class ResponseRefused(SourceError):
    """The response is not an image."""


class TooLarge(SourceError):
    """More bytes than the limit (`reason` is "limit"), or than the free space ("space")."""


class SourceInterrupted(SourceError):
    """The bytes stopped. Received bytes are kept, and the same call resumes."""

    exit_code = 75

    def __init__(
        self,
        where: str,
        what: str,
        remedy: str = "",
        *,
        reason: str,
        status: int | None = None,
        offset: int | None = None,
        after: float = 0.0,
        gained: int = 0,
    ) -> None:
        """`after` is the server's Retry-After in seconds, `gained` the number of bytes that the call added."""
        super().__init__(where, what, remedy, reason=reason, status=status, offset=offset)
        self.after = after
        self.gained = gained


class SourceChanged(SourceError):
    """The bytes changed since the beginning."""


class DigestRefused(SourceError):
    """An unusable digest or checksum file."""


class DigestMismatch(SourceError):
    """The bytes do not have the expected digest."""

    def __init__(self, where: str, *, expected: str, origin: str, actual: str, size: int) -> None:
        self.expected = expected
        self.origin = origin
        self.actual = actual
        self.size = size
        super().__init__(
            where,
            f"its {size} bytes have {actual}, expected was {expected} ({origin})",
            "compare the digest with its publisher's; if it is right, these bytes are damaged or come from somebody else",
            reason="digest",
        )


class UnpackRefused(SourceError):
    """Compressed bytes that are damaged, cut short, followed by others, or a bomb. `offset` counts compressed bytes."""


def error_text(error: Exception) -> str:
    """An error of the operating system or of TLS as a short printable text."""
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:120]
