"""Errors of the store and of the bytes in it.

    PhimageError
    ├── Absent              there is no object of that name
    ├── StoreFailure        the store failed; `passing` says whether a retry may help
    │   └── Lost                an object was removed while a writer relied on it; write the disk again
    ├── BadManifest         a manifest is missing, damaged or invalid
    ├── BadChunk            a chunk of an image is missing, damaged or unreadable
    ├── WrongDisk           the written bytes are not the announced disk
    └── BadUpload           parts of an upload are missing, of a wrong size or damaged

RetCodes are assigned by the callers that serve requests.
"""

from __future__ import annotations

from typing import Literal

from phimage.errors import PhimageError

Reason = Literal[
    "no space", "input/output error", "not permitted", "refused", "unreachable", "too large", "lost", "busy", "failed"
]
"""The reason of a failure, for programs to compare."""


class Absent(PhimageError):
    """There is no object of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is not in the store")


class StoreFailure(PhimageError):
    """A store failed. An object being written is either complete or absent."""

    def __init__(self, operation: str, name: str, reason: Reason, detail: str = "", *, passing: bool = False) -> None:
        """`passing`: a retry may succeed."""
        self.operation = operation
        self.name = name
        self.reason = reason
        self.detail = detail
        self.passing = passing
        super().__init__(f"{operation} {name}: {reason}" + (f" ({detail})" if detail else ""))


class Lost(StoreFailure):
    """An object was removed while a writer relied on it. Write the disk again."""

    def __init__(self, name: str) -> None:
        super().__init__("keep", name, "lost", "it was collected while it was being used; write the disk again")


class BadManifest(PhimageError):
    """A manifest is missing, damaged or invalid, as `reason` says."""

    def __init__(self, digest: str, reason: str) -> None:
        self.digest = digest
        self.reason = reason
        super().__init__(f"manifest {digest}: {reason}")


class BadChunk(PhimageError):
    """A chunk of an image is missing, damaged or unreadable; its bytes are never delivered."""

    def __init__(
        self, manifest: str, chunk: str, index: int, offset: int, kind: Literal["missing", "corrupt", "unreadable"], reason: str
    ) -> None:
        """`offset` is the chunk's place on the disk in bytes; digests are hexadecimal."""
        self.manifest = manifest
        self.chunk = chunk
        self.index = index
        self.offset = offset
        self.kind = kind
        self.reason = reason
        super().__init__(f"manifest {manifest}: chunk {index} at offset {offset} ({chunk}) is {kind}: {reason}")


class WrongDisk(PhimageError):
    """The written bytes have another size or digest than announced."""


class BadUpload(PhimageError):
    """Parts of an upload are missing, of a wrong size or damaged, as `reason` says."""

    def __init__(self, job: str, reason: str) -> None:
        self.job = job
        self.reason = reason
        super().__init__(f"upload {job}: {reason}; send it again")
