"""What can go wrong with bytes before they are an image.

    PhimageError
    └── SourceError         trying the same again does not help
        ├── UrlRefused          a URL, an address behind it, or a redirect that the policy forbids
        ├── AnswerRefused       a server answered, but not with an image
        ├── TooLarge            more bytes than the limit, or than there is room for
        ├── SourceBroken        the bytes stopped; what came is kept, and the same call goes on from there
        ├── SourceChanged       the bytes are no longer those that were begun with
        ├── DigestRefused       a digest or a checksum file that cannot be used
        ├── WrongDigest         the bytes are not those that were expected
        └── PackRefused         compressed bytes that are damaged, cut short, followed by others, or a bomb

The text names the source (no credentials, no values of a query), what happened where, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

from phimage.errors import PhimageError


class SourceError(PhimageError):
    """The bytes cannot be had. `reason` is a short word that programs may compare; it never changes its meaning."""

    exit_code: ClassVar[int] = 65

    def __init__(
        self, where: str, what: str, remedy: str = "", *, reason: str, status: int | None = None, offset: int | None = None
    ) -> None:
        """`where` is the source as people may see it, `status` that of HTTP, `offset` a place in the original bytes."""
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
        told = f" ({', '.join(place)})" if place else ""
        return f"{self.where}: {self.what}{told}" + (f"; {self.remedy}" if self.remedy else "")


class UrlRefused(SourceError):
    """The policy forbids a URL, an address behind it, or a redirect. Nothing was sent there."""


class AnswerRefused(SourceError):
    """A server answered, but not with an image."""


class TooLarge(SourceError):
    """More bytes than the limit (`reason` is "limit"), or than there is room for ("space")."""


class SourceBroken(SourceError):
    """The bytes stopped. What came is kept, and the same call goes on from there."""

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
        """`after`: in how many seconds the server asks to be asked again. `gained`: how many bytes the call added."""
        super().__init__(where, what, remedy, reason=reason, status=status, offset=offset)
        self.after = after
        self.gained = gained


class SourceChanged(SourceError):
    """The bytes are no longer those that were begun with."""


class DigestRefused(SourceError):
    """A digest or a checksum file that cannot be used."""


class WrongDigest(SourceError):
    """The bytes are not those that were expected. `found` is what they have."""

    def __init__(self, where: str, *, expected: str, origin: str, found: str, size: int) -> None:
        self.expected = expected
        self.origin = origin
        self.found = found
        self.size = size
        super().__init__(
            where,
            f"its {size} bytes have {found}, expected was {expected} ({origin})",
            "compare the digest with its publisher's; if it is right, these bytes are damaged or not his",
            reason="digest",
        )


class PackRefused(SourceError):
    """Compressed bytes that are damaged, cut short, followed by others, or a bomb. `offset` counts compressed bytes."""
