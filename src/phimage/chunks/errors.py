"""Errors of the store and of the bytes in it.

    PhimageError
    ├── Absent              there is no object of that name
    ├── StoreFailure        the store failed; `passing` says whether a retry may help
    │   └── Lost                an object was removed while a writer relied on it; write the disk again
    ├── BadManifest         a manifest is missing, damaged or invalid
    ├── BadChunk            a chunk of an image is missing, damaged or unreadable
    ├── WrongDisk           the written bytes are not the announced disk
    └── BadUpload           parts of an upload are missing, of a wrong size or damaged

Where bytes are served, `http_status` and `public_fields` make the response. No error has a RetCode: Actions choose one.
"""

from __future__ import annotations

from collections.abc import Mapping
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
        self.http_status = 507 if reason == "no space" else 503 if passing else 500
        super().__init__(f"{operation} {name}: {reason}" + (f" ({detail})" if detail else ""))

    def public_fields(self) -> Mapping[str, object]:
        """A message and a remedy. The detail is for the log alone."""
        if self.http_status == 507:
            return {"Message": "No space", "Detail": "the store is full; ask its operator, then send the request again"}
        if self.passing:
            return {"Message": "Store unavailable", "Detail": "the store did not answer; send the request again"}
        return {"Message": "Store failed", "Detail": f"the store failed: {self.reason}; ask its operator"}


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

    def public_fields(self) -> Mapping[str, object]:
        """The manifest, and a remedy."""
        detail = "its manifest cannot be used; ask the operator to verify the image"
        return {"Message": "Image damaged", "Detail": detail, "Manifest": self.digest}


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

    def public_fields(self) -> Mapping[str, object]:
        """The chunk, and a remedy."""
        detail = f"chunk {self.index} at offset {self.offset} is {self.kind}; ask the operator to verify the image"
        place = {"Chunk": self.chunk, "Index": self.index, "Offset": self.offset}
        return {"Message": "Image damaged", "Detail": detail, **place}


class WrongDisk(PhimageError):
    """The written bytes have another size or digest than announced."""


class BadUpload(PhimageError):
    """Parts of an upload are missing, of a wrong size or damaged, as `reason` says."""

    def __init__(self, job: str, reason: str) -> None:
        self.job = job
        self.reason = reason
        super().__init__(f"upload {job}: {reason}; send it again")
