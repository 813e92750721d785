"""Manifests: the list of a disk's chunks. The same disk and facts give the same bytes, whose SHA-256 is the manifest's name."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from phimage.chunks.errors import Absent, BadManifest
from phimage.chunks.frame import zero_digest
from phimage.chunks.layout import (
    MAX_CHUNK_SIZE,
    MAX_CHUNKS,
    MAX_DISK_SIZE,
    MIN_CHUNK_SIZE,
    ChunkDigest,
    DiskDigest,
    ManifestDigest,
    chunk_count,
    manifest_name,
)
from phimage.chunks.store import Store

FORMAT = "phimage-disk-1"

_DIGEST_BYTES = 32
_MAX_DEPTH = 32
_MAX_FACTS_BYTES = 1 << 20


class Run(Struct, frozen=True):
    """A run of stored chunks; between runs there are zeros."""

    first: int  # the index of its first chunk
    digests: bytes  # 32 bytes for each chunk

    @property
    def stop(self) -> int:
        """The index after its last chunk."""
        return self.first + len(self.digests) // _DIGEST_BYTES


class Manifest(Struct, frozen=True):
    """A raw disk as chunks, and the facts that its publisher stores with it."""

    size: int  # bytes of the raw disk
    chunk_size: int  # bytes of each chunk; the last one may be shorter
    sha256: DiskDigest
    runs: tuple[Run, ...]
    facts: dict[str, Any]  # JSON, without fractions

    @property
    def count(self) -> int:
        """The number of chunks of the disk, including zeros."""
        return chunk_count(self.size, self.chunk_size)

    def length(self, index: int) -> int:
        """The length of a chunk in bytes."""
        return min(self.chunk_size, self.size - index * self.chunk_size)

    def run(self, index: int) -> tuple[bool, int]:
        """Whether a chunk is stored, and the index after the last chunk of which that is true without a break."""
        before = bisect_right(self.runs, index, key=lambda run: run.first)
        if before and index < self.runs[before - 1].stop:
            return True, self.runs[before - 1].stop
        return False, self.runs[before].first if before < len(self.runs) else self.count

    def chunk(self, index: int) -> ChunkDigest | None:
        """The digest of a chunk, None for zeros."""
        before = bisect_right(self.runs, index, key=lambda run: run.first)
        if not before or index >= self.runs[before - 1].stop:
            return None
        run = self.runs[before - 1]
        begins = (index - run.first) * _DIGEST_BYTES
        return ChunkDigest(run.digests[begins : begins + _DIGEST_BYTES])

    def stored(self) -> Iterator[tuple[int, ChunkDigest]]:
        """Every stored chunk with its index. A chunk that the disk has twice is returned twice."""
        for run in self.runs:
            for at in range(0, len(run.digests), _DIGEST_BYTES):
                yield run.first + at // _DIGEST_BYTES, ChunkDigest(run.digests[at : at + _DIGEST_BYTES])


class _Document(Struct, frozen=True, forbid_unknown_fields=True):
    chunk_size: int
    chunks: list[str | int]  # a digest, or how many chunks of zeros
    facts: dict[str, Any]
    format: str
    sha256: str
    size: int


def build(
    size: int, chunk_size: int, disk: DiskDigest, chunks: Iterable[ChunkDigest | int], facts: Mapping[str, Any]
) -> Manifest:
    """Build a manifest from chunks in order, each a digest or a number of chunks of zeros. Raises ValueError."""
    if not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE or chunk_size & (chunk_size - 1):
        raise ValueError(f"chunks of {chunk_size} bytes; they have a power of two from {MIN_CHUNK_SIZE} to {MAX_CHUNK_SIZE}")
    if not 1 <= size <= MAX_DISK_SIZE:
        raise ValueError(f"a disk of {size} bytes; it has from 1 to {MAX_DISK_SIZE}")
    if len(disk) != 2 * _DIGEST_BYTES or disk.strip("0123456789abcdef"):
        raise ValueError("the disk's digest is not a SHA-256 in hexadecimal")
    count = chunk_count(size, chunk_size)
    runs, index, stored = [], 0, 0
    open_run: bytearray | None = None
    for chunk in chunks:
        if isinstance(chunk, int):
            if chunk < 1:
                raise ValueError(f"{chunk} chunks of zeros")
            if open_run is not None:
                runs.append(Run(index - len(open_run) // _DIGEST_BYTES, bytes(open_run)))
            open_run = None
            index += chunk
        else:
            length = min(chunk_size, size - index * chunk_size)
            if len(chunk) != _DIGEST_BYTES or (length > 0 and chunk == zero_digest(length)):
                raise ValueError(f"chunk {index} has an invalid digest")
            open_run = bytearray() if open_run is None else open_run
            open_run += chunk
            index, stored = index + 1, stored + 1
        if index > count or stored > MAX_CHUNKS:
            raise ValueError(f"more chunks than {min(count, MAX_CHUNKS)}")
    if open_run is not None:
        runs.append(Run(index - len(open_run) // _DIGEST_BYTES, bytes(open_run)))
    if index != count:
        raise ValueError(f"{index} chunks; a disk of {size} bytes has {count}")
    _check_facts(facts)
    return Manifest(size, chunk_size, disk, tuple(runs), dict(facts))


def encode(manifest: Manifest) -> bytes:
    """The canonical bytes of a manifest: JSON with sorted keys, without spaces, UTF-8."""
    chunks: list[str | int] = []
    index = 0
    for run in manifest.runs:
        if run.first > index:
            chunks.append(run.first - index)
        text = run.digests.hex()
        chunks.extend(text[at : at + 64] for at in range(0, len(text), 64))
        index = run.stop
    if index < manifest.count:
        chunks.append(manifest.count - index)
    document = _Document(manifest.chunk_size, chunks, manifest.facts, FORMAT, manifest.sha256, manifest.size)
    return msgspec.json.encode(document, order="sorted")


def decode(data: bytes) -> Manifest:
    """Parse a manifest. Raises ValueError unless the bytes are canonical, that is as `encode` writes them."""
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error}") from error
    if document.format != FORMAT:
        raise ValueError(f"its format is {document.format!r}, not {FORMAT!r}")
    chunks = (chunk if isinstance(chunk, int) else ChunkDigest(bytes.fromhex(chunk)) for chunk in document.chunks)
    manifest = build(document.size, document.chunk_size, DiskDigest(document.sha256), chunks, document.facts)
    if encode(manifest) != data:
        raise ValueError("its bytes are not in canonical form")
    return manifest


def digest_of(data: bytes) -> ManifestDigest:
    """The digest of a manifest with these bytes."""
    return ManifestDigest(sha256(data).hexdigest())


def load_manifest(store: Store, digest: ManifestDigest) -> Manifest:
    """Load a manifest from the store. Raises BadManifest if it is missing or damaged."""
    try:
        data = store.get(manifest_name(digest))
        if digest_of(data) != digest:
            raise BadManifest(digest, "it is damaged: its bytes have another SHA-256")
        return decode(data)
    except Absent:
        raise BadManifest(digest, "it is not in the store") from None
    except ValueError as error:
        raise BadManifest(digest, str(error)) from error


def _check_facts(facts: Mapping[str, Any]) -> None:
    """Allow only JSON that every program reads and writes identically."""
    _check_fact(facts, 0)
    if len(msgspec.json.encode(facts)) > _MAX_FACTS_BYTES:
        raise ValueError(f"facts of more than {_MAX_FACTS_BYTES} bytes")


def _check_fact(fact: object, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("facts are nested too deeply")
    if isinstance(fact, Mapping):
        for name, value in fact.items():
            if not isinstance(name, str):
                raise ValueError(f"facts have names, not {name!r}")
            _check_fact(value, depth + 1)
    elif isinstance(fact, list | tuple):
        for value in fact:
            _check_fact(value, depth + 1)
    elif isinstance(fact, int):
        if not -(2**53) < fact < 2**53:
            raise ValueError(f"facts have whole numbers below 2^53, not {fact}")
    elif not isinstance(fact, str | None):
        raise ValueError(f"facts have no {type(fact).__name__}")
