"""Frame lists: length and SHA-256 of the stored frame of every chunk of a disk (docs/store-format.md).

With its list a disk is sent as a zstd file without a question to the store first, and its frames are compared without
decompressing them. A list is derived: a disk without one, or with a damaged one, is read all the same, and each frame is then
verified by its chunk's digest. So lists need no guard against a garbage collection.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import accumulate

from msgspec import Struct

from phimage.chunks.errors import Absent, BadManifest
from phimage.chunks.layout import ChunkDigest, ManifestDigest, frame_list_name
from phimage.chunks.manifest import Manifest, load_manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.read import DiskReader
from phimage.chunks.store import Store

_BEGINNING = b"phimage-frames-1\n"
_DIGEST_BYTES = 32
_ENTRY = struct.Struct(f">I{_DIGEST_BYTES}s")
_AHEAD = 2


class ListedFrame(Struct, frozen=True):
    """A stored frame: its length in bytes, and its SHA-256."""

    length: int
    sha256: bytes


def listed(frame: bytes) -> ListedFrame:
    """What a list says of a verified frame."""
    return ListedFrame(len(frame), sha256(frame).digest())


class FrameList:
    """The frames of a disk: an entry for each stored chunk, in the order of the disk."""

    def __init__(self, entries: bytes) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries) // _ENTRY.size

    def __getitem__(self, place: int) -> ListedFrame:
        """The frame of the stored chunk with this number among the stored ones."""
        return ListedFrame(*_ENTRY.unpack_from(self._entries, place * _ENTRY.size))

    def ends(self, first: int, stop: int) -> array[int]:
        """The end of each frame from `first` up to `stop`, from the start of the first one."""
        entries = self._entries[first * _ENTRY.size : stop * _ENTRY.size]
        return array("Q", accumulate(length for length, _ in _ENTRY.iter_unpack(entries)))

    def encode(self, digest: ManifestDigest) -> bytes:
        """The bytes of the object, for the manifest with this digest."""
        content = _BEGINNING + bytes.fromhex(digest) + self._entries
        return content + sha256(content).digest()


def build(frames: Iterator[ListedFrame]) -> FrameList:
    """The list of these frames, in the order of the disk."""
    return FrameList(b"".join(_ENTRY.pack(frame.length, frame.sha256) for frame in frames))


def decode(data: bytes, digest: ManifestDigest, manifest: Manifest) -> FrameList:
    """Parse a list. Raises ValueError unless it is whole and that of this manifest."""
    content, own = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if sha256(content).digest() != own:
        raise ValueError("its bytes have another SHA-256 than the one at its end")
    begins = _BEGINNING + bytes.fromhex(digest)
    stored = sum(run.stop - run.first for run in manifest.runs)
    if not content.startswith(begins) or len(content) != len(begins) + stored * _ENTRY.size:
        raise ValueError("it is not the list of this manifest")
    return FrameList(content[len(begins) :])


def load_frame_list(store: Store, digest: ManifestDigest, manifest: Manifest) -> FrameList | None:
    """The list of a disk; None if it is missing or damaged. Raises StoreFailure."""
    try:
        return decode(store.get(frame_list_name(digest)), digest, manifest)
    except (Absent, ValueError):
        return None


def remove_damaged(store: Store, digests: Iterable[ManifestDigest]) -> Iterator[ManifestDigest]:
    """Remove the damaged lists of some manifests, and yield the digest of each. Raises StoreFailure."""
    for digest in dict.fromkeys(digests):
        try:
            data, manifest = store.get(frame_list_name(digest)), load_manifest(store, digest)
        except (Absent, BadManifest):
            continue
        try:
            decode(data, digest, manifest)
        except ValueError:
            store.delete(frame_list_name(digest))
            yield digest


def put_known_frames(
    store: Store, digest: ManifestDigest, manifest: Manifest, known: Mapping[ChunkDigest, ListedFrame]
) -> FrameList | None:
    """Put the list of a disk whose frames are all known, or listed already. Returns None, and puts nothing, otherwise."""
    chunks = [chunk for _, chunk in manifest.stored()]
    before = None if all(chunk in known for chunk in chunks) else load_frame_list(store, digest, manifest)
    if before is None and any(chunk not in known for chunk in chunks):
        return None
    frames = build(known[chunk] if chunk in known else _entry(before, place) for place, chunk in enumerate(chunks))
    store.put(frame_list_name(digest), frames.encode(digest))
    return frames


def make_frame_list(store: Store, reader: DiskReader, stopped: Callable[[], bool] = lambda: False) -> FrameList | None:
    """Read and verify every frame of a disk, and put its list. Returns None once `stopped` returns True.

    Raises BadChunk and StoreFailure; nothing is put then.
    """
    entries = bytearray()
    for frame in prefetch(lambda stored: listed(reader.frame(stored[0])), reader.manifest.stored(), _AHEAD):
        if stopped():
            return None
        entries += _ENTRY.pack(frame.length, frame.sha256)
    made = FrameList(bytes(entries))
    store.put(frame_list_name(reader.digest), made.encode(reader.digest))
    return made


def _entry(frames: FrameList | None, place: int) -> ListedFrame:
    assert frames is not None
    return frames[place]
