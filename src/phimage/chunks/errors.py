"""What can go wrong with bytes.

    PhimageError
    ├── Absent              there is no object of that name
    ├── StoreFailure        the store could not do it; `passing` says whether trying again may help
    │   └── Lost                an object went away while a writer relied on it; writing again makes it anew
    ├── BadManifest         a manifest that is damaged, is not one, or is not the one asked for
    ├── BadChunk            a chunk of an image is missing, damaged or unreadable
    ├── WrongDisk           the bytes written are not the disk that was announced
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
"""Why a store failed, in words that a program may compare."""


class Absent(PhimageError):
    """There is no object of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{name} is not in the store")


class StoreFailure(PhimageError):
    """A store could not do what it was asked. What it was to write is there whole, or not at all."""

    def __init__(self, operation: str, name: str, reason: Reason, detail: str = "", *, passing: bool = False) -> None:
        """`passing`: the same call may work a little later."""
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
    """An object that a writer had found went away before the writer was done. Write the disk again."""

    def __init__(self, name: str) -> None:
        super().__init__("keep", name, "lost", "it was collected while it was being used; write the disk again")


class BadManifest(PhimageError):
    """A manifest cannot be used. `reason` says why."""

    def __init__(self, digest: str, reason: str) -> None:
        self.digest = digest
        self.reason = reason
        super().__init__(f"manifest {digest}: {reason}")

    def public_fields(self) -> Mapping[str, object]:
        """The manifest, and a remedy."""
        detail = "its manifest cannot be used; ask the operator to verify the image"
        return {"Message": "Image damaged", "Detail": detail, "Manifest": self.digest}


class BadChunk(PhimageError):
    """A chunk of an image cannot be used: its bytes are never handed out."""

    def __init__(
        self, manifest: str, chunk: str, index: int, offset: int, kind: Literal["missing", "corrupt", "unreadable"], reason: str
    ) -> None:
        """`offset` is where the chunk begins on the disk, in bytes; digests are hexadecimal."""
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
    """More or fewer bytes than announced, or another digest."""


class BadUpload(PhimageError):
    """An upload is not the file that it should be. `reason` names its parts."""

    def __init__(self, job: str, reason: str) -> None:
        self.job = job
        self.reason = reason
        super().__init__(f"upload {job}: {reason}; send it again")
