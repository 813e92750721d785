"""The names of objects in the store, and the numbers of the format (docs/store-format.md)."""

from __future__ import annotations

import re
from typing import NewType

from phimage.model.ids import ManifestDigest as ManifestDigest  # chunks import it from here

ChunkDigest = NewType("ChunkDigest", bytes)
"""SHA-256 of a chunk's raw bytes: 32 bytes."""

DiskDigest = NewType("DiskDigest", str)
"""SHA-256 of a whole raw disk, in hexadecimal."""

# docs/decisions.md#chunks-of-1-mib
CHUNK_SIZE = 1 << 20
"""The chunk size of new manifests in bytes, chosen by measurement (docs/store-format.md)."""

MIN_CHUNK_SIZE = 64 << 10
MAX_CHUNK_SIZE = 16 << 20
MAX_DISK_SIZE = 64 << 40
MAX_CHUNKS = 2_000_000
"""The max non-zero chunks of a manifest, so that it fits into one object of a store."""

CHUNKS = "chunks"
MANIFESTS = "manifests"
QUARANTINE = "quarantine"
SWEEPS = "sweeps"
INSTALLATION = "installation"
STATISTICS = "statistics"

MIN_GRACE_SECONDS = 3600.0
"""No garbage collection removes objects put or refreshed less than this ago; writers rely on it (see `gc.py`)."""

_HEXADECIMAL = re.compile(r"[0-9a-f]{64}")


def chunk_name(digest: ChunkDigest) -> str:
    """The object name of a chunk."""
    text = digest.hex()
    return f"{CHUNKS}/{text[:2]}/{text}"


def manifest_name(digest: ManifestDigest) -> str:
    """The object name of a manifest. Raises ValueError for an invalid digest."""
    if not _HEXADECIMAL.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a SHA-256 in hexadecimal")
    return f"{MANIFESTS}/{digest[:2]}/{digest}"


def quarantine_name(digest: ChunkDigest) -> str:
    """The object name of a damaged chunk in quarantine."""
    return f"{QUARANTINE}/{digest.hex()}"


def digest_of_name(name: str) -> str | None:
    """The hexadecimal digest in the object name of a chunk or a manifest, None for other names."""
    folder, _, rest = name.partition("/")
    shard, _, text = rest.partition("/")
    if folder in (CHUNKS, MANIFESTS) and _HEXADECIMAL.fullmatch(text) and text[:2] == shard:
        return text
    return None


def chunk_count(size: int, chunk_size: int) -> int:
    """The number of chunks of a disk; the last one may be shorter."""
    return -(-size // chunk_size)
