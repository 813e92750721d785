"""The machine's clock steps while a disk is written and a garbage collection runs: a registered disk is complete."""

from __future__ import annotations

from itertools import product

import pytest

from phimage.chunks.errors import BadManifest, Lost
from phimage.chunks.gc import collect_garbage
from phimage.chunks.gc_guard import renew
from phimage.chunks.layout import MIN_GRACE_SECONDS, ManifestDigest
from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.chunks.write import DiskWriter

CHUNK = 64 << 10
PARTS = [bytes([number]) * CHUNK for number in range(4)]
DISK = b"".join(PARTS)
MINUTE = 60.0
MOMENTS = range(len(PARTS) + 2)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def publish(store: MemoryStore, clock: Clock, step: float, moment: int, pause: float) -> ManifestDigest:
    """Write a registrable disk, `pause` seconds a part. The clock steps at a given moment, and then a collection runs.

    Raises Lost or BadManifest, after which a publisher writes the disk again.
    """

    def at(reached: int) -> None:
        clock.now += pause
        if reached == moment:
            clock.now += step
            collect_garbage(store, list, now=clock(), grace_seconds=MIN_GRACE_SECONDS)

    with DiskWriter(store, len(DISK), chunk_size=CHUNK, workers=1, now=clock, sleep=lambda seconds: None) as writer:
        for number, part in enumerate(PARTS):
            writer.write(part)
            at(number)
        at(len(PARTS))
        written = writer.finish({})
    before = written.register_before
    at(len(PARTS) + 1)
    if clock() > before:
        renew(store, written.digest, clock, lambda seconds: None)
    return written.digest


@pytest.mark.parametrize("step", [3600.0, -3600.0, 7200.0, -7200.0])
def test_a_clock_that_steps_costs_a_publication_another_try_at_most(step: float) -> None:
    for moment, minutes, old in product(MOMENTS, (0.01, 5.0, 20.0), (0.0, 25.0, 50.0)):
        clock = Clock()
        store = MemoryStore(clock)
        with DiskWriter(store, CHUNK, chunk_size=CHUNK, workers=1, now=clock) as writer:  # a part that is there already
            writer.write(PARTS[0])
            writer.finish({})
        clock.now += old * MINUTE
        try:
            digest = publish(store, clock, step, moment, minutes * MINUTE)
        except (Lost, BadManifest):
            digest = publish(store, clock, 0.0, 0, minutes * MINUTE)
        assert b"".join(open_disk(store, digest).chunks()) == DISK
