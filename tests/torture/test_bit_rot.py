"""One bit of each stored chunk flipped in turn (T5): no download hands out a wrong byte, and a scrub names the chunk."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from phimage.chunks.folder import FolderStore
from phimage.chunks.layout import chunk_name
from phimage.chunks.scrub import ScrubFinding, scrub
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written
from tests.contract import stores
from tests.delivering import CHUNK, IMAGE, Answered, Client, FakeAuthorizer, content_of, delivery_of
from tests.torture.length import lengths

s3 = stores.s3
FORMS = (".raw", ".raw.zst", ".qcow2")
DISK = 125
"""Chunks of one disk."""


class Rot:
    """A disk of some chunks in a store, with everything that can be had of it while it is whole."""

    def __init__(self, store: Store, chunks: int) -> None:
        self.store = store
        self.written = _write(store, chunks)
        self.good = {form: self.ask(form) for form in FORMS}
        assert all(answer.status == 200 and answer.whole for answer in self.good.values())

    def ask(self, form: str, headers: Mapping[str, str] | None = None) -> Answered:
        """One request to an application that remembers no chunk."""
        delivery = delivery_of(self.store, FakeAuthorizer(content_of(self.written)))
        try:
            return Client(delivery).ask(f"/images/{IMAGE}{form}", headers)
        finally:
            delivery.close()

    def flip(self, index: int, chance: random.Random) -> Callable[[], None]:
        """Flip a bit of a chunk as it is stored. Call the result to make it good again."""
        digest = self.written.manifest.chunk(index)
        assert digest is not None
        name = chunk_name(digest)
        frame = bytearray(self.store.get(name))
        whole = bytes(frame)
        frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
        self.store.put(name, bytes(frame))
        return lambda: self.store.put(name, whole)

    def check(self, index: int, chance: random.Random) -> None:
        """What is served is right as far as it goes, and does not go to its end; the scrub names this chunk alone."""
        for form in FORMS:
            _check_refused(self.ask(form), self.good[form].body)
        first = index * CHUNK + chance.randrange(CHUNK - 1)
        last = min(first + chance.randrange(2 * CHUNK), self.written.manifest.size - 1)
        asked = {"Range": f"bytes={first}-{last}"}
        _check_refused(self.ask(".raw", asked), self.good[".raw"].body[first : last + 1])
        found = [each for each in scrub(self.store, [self.written.digest], now=0) if isinstance(each, ScrubFinding)]
        digest = self.written.manifest.chunk(index)
        assert digest is not None
        assert [(each.chunk, each.index, each.offset, each.kind) for each in found] == [
            (digest.hex(), index, index * CHUNK, "corrupt")
        ]


def _check_refused(answer: Answered, right: bytes) -> None:
    if answer.status in (200, 206):
        assert not answer.whole
        assert len(answer.body) < len(right)
        assert right.startswith(answer.body)
    else:
        assert answer.status >= 500


def _write(store: Store, chunks: int) -> Written:
    """Distinct chunks, some of which compress, between two that are zeros."""
    with DiskWriter(store, (chunks + 2) * CHUNK, chunk_size=CHUNK) as writer:
        writer.zeros(CHUNK)
        for number in range(chunks):
            chance = random.Random(number)
            writer.write(chance.randbytes(CHUNK) if number % 2 else chance.randbytes(CHUNK // 2).hex().encode())
        writer.zeros(CHUNK)
        return writer.finish({})


def flip_all(rot: Rot, chunks: int, chance: random.Random) -> None:
    """Flip a bit of each chunk in turn; at the end the disk is as it was."""
    for index in range(1, chunks + 1):
        mend = rot.flip(index, chance)
        rot.check(index, chance)
        mend()
    assert rot.ask(".raw").body == rot.good[".raw"].body


@lengths("flips", 20, 1000)
def test_a_flipped_bit_in_any_chunk_is_named_and_never_served(tmp_path: Path, flips: int) -> None:
    for first in range(0, flips, DISK):  # whole downloads of one large disk would take their time squared
        chunks = min(DISK, flips - first)
        flip_all(Rot(FolderStore(tmp_path / f"store{first}"), chunks), chunks, random.Random(first))


def test_a_flipped_bit_is_named_and_never_served_from_s3(s3: stores.S3Server) -> None:
    flip_all(Rot(s3.new_store(), 4), 4, random.Random(1))
