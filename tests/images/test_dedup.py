"""What a changed copy of a real disk costs: its changes."""

from __future__ import annotations

import mmap
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from phimage.chunks.folder import FolderStore
from phimage.chunks.memory import MemoryStore
from phimage.chunks.stats import measure
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written
from tests.formats.make import KIB, MIB
from tests.images.debian import debian_disk

pytestmark = pytest.mark.more

IMAGES = 10
OTHER = bytes(value ^ 0x5A for value in range(256))
"""Turns data into other data that compresses as well."""


@pytest.fixture(params=["memory", pytest.param("folder", marks=pytest.mark.torture)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    found: Store = MemoryStore() if request.param == "memory" else FolderStore(tmp_path / "store")
    yield found
    found.close()


@pytest.fixture
def base() -> Iterator[mmap.mmap]:
    with debian_disk().open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as disk:
        yield disk


def test_ten_images_that_each_rewrite_one_percent_of_a_debian_take_at_max_a_quarter_more_than_one(
    store: Store, base: mmap.mmap
) -> None:
    """Runs of a MiB begin at blocks of the file system, so most of them touch two chunks: a fifth more is what to expect."""
    written = write(store, base, [])
    data = [index * MIB for index, _ in written.manifest.stored()]
    rewritten = [len(data) * number // 100 for number in range(IMAGES + 1)]  # by so many images together
    chance = random.Random(1)
    images = [written]
    for before, after in pairwise(rewritten):
        # one in each part of the disk, so that no image has the luck of rewriting only what compresses well
        bounds = [len(data) * part // (after - before) for part in range(after - before + 1)]
        parts = [data[first : stop - 1] for first, stop in pairwise(bounds)]
        images.append(write(store, base, [chance.choice(part) + chance.randrange(0, MIB, 4 * KIB) for part in parts]))

    assert len({image.digest for image in images}) == IMAGES + 1
    alone = measure(store, [written.digest]).stored
    together = measure(store, [image.digest for image in images])
    assert together.logical == (IMAGES + 1) * len(base)
    assert sum(image.missing for image in together.images) == 0
    assert together.stored <= 1.25 * alone


def write(store: Store, base: mmap.mmap, rewritten: list[int]) -> Written:
    """A copy of the base with a MiB of other data from each of these offsets on."""
    with DiskWriter(store, len(base)) as writer:
        for start in sorted(rewritten):
            copy(base, start, writer)
            writer.write(base[start : start + MIB].translate(OTHER))
        copy(base, len(base), writer)
        return writer.finish({})


def copy(base: mmap.mmap, stop: int, writer: DiskWriter) -> None:
    """Write on from where the writer is, to the end of chunks."""
    while writer.taken < stop:
        writer.write(base[writer.taken : min(stop, writer.taken // MIB * MIB + MIB)])
