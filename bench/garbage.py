"""A collection of 100,000 chunks that nothing needs, in a folder in memory and in one on the disk of this project."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import CACHE, Figures
from phimage.chunks.folder import FolderStore
from phimage.chunks.gc import GRACE_SECONDS, collect_garbage
from phimage.chunks.layout import ChunkDigest, chunk_name

CHUNKS = 100_000
CHUNK_BYTES = 4096
MEMORY = Path("/dev/shm")

Announce = Callable[[str], None]


def measure(figures: Figures, rounds: int, announce: Announce, chunks: int = CHUNKS) -> None:
    """Rounds in each place."""
    figures.about = f"{chunks:,} chunks of {CHUNK_BYTES >> 10} KiB"
    CACHE.mkdir(exist_ok=True)
    for number in range(rounds):
        for place, parent in (("memory", MEMORY), ("disk", CACHE)):
            announce(f"collecting garbage in a folder on {place}, round {number + 1}")
            with tempfile.TemporaryDirectory(prefix="phimage-bench-", dir=parent) as folder:
                _collect(figures, place, Path(folder), chunks)


def _collect(figures: Figures, place: str, folder: Path, chunks: int) -> None:
    store = FolderStore(folder)
    content = bytes(CHUNK_BYTES)
    for number in range(chunks):
        file = folder / chunk_name(ChunkDigest(hashlib.sha256(b"%d" % number).digest()))
        if not number & 0xFF or not file.parent.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    os.sync()
    begun, used = time.perf_counter(), time.process_time()
    report = collect_garbage(store, tuple, now=time.time() + 2 * GRACE_SECONDS)
    figures.add(f"{place}: us of wall time a chunk", (time.perf_counter() - begun) * 1e6 / chunks)
    figures.add(f"{place}: us of processor time a chunk", (time.process_time() - used) * 1e6 / chunks)
    if report.removed_chunks != chunks:
        raise RuntimeError(f"{report.removed_chunks:,} of {chunks:,} chunks were removed")
    shutil.rmtree(folder / "chunks", ignore_errors=True)
