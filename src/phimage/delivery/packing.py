"""Making packs in the background: one at a time in this process, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import structlog

from phimage.chunks.errors import BadChunk, StoreFailure
from phimage.delivery.counters import Counters
from phimage.delivery.frames import Frames
from phimage.delivery.packs import Pack, Packs

log = structlog.get_logger()


class Packing:
    """Finds packs, and makes those that are missed. Used on the event loop."""

    def __init__(self, packs: Packs, counters: Counters) -> None:
        self._packs = packs
        self._counters = counters
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="deliver-pack")
        self._making: asyncio.Task[None] | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """Give up what is being made."""
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)

    def find(self, frames: Frames) -> Pack | None:
        """The pack of a disk. Waits only for the names in a folder of few. A folder that cannot be read has no packs."""
        try:
            return self._packs.find(frames)
        except OSError as error:
            log.warning("pack.unreadable", reason=str(error))
            return None

    def make(self, frames: Frames) -> None:
        """Begin to make a pack for the next reader, if none is being made."""
        if self._packs.wants(frames) and (self._making is None or self._making.done()) and not self._closed.is_set():
            self._making = asyncio.get_running_loop().create_task(self._make(frames))

    async def _make(self, frames: Frames) -> None:
        loop = asyncio.get_running_loop()
        try:
            pack = await loop.run_in_executor(self._threads, self._packs.build, frames, self._closed.is_set)
        except BadChunk as bad:
            self._counters.bad_chunks += 1
            log.error("chunk.bad", manifest=bad.manifest, chunk=bad.chunk, index=bad.index, offset=bad.offset, kind=bad.kind)
        except (StoreFailure, OSError) as error:
            log.warning("pack.failed", manifest=frames.manifest, reason=str(error))
        else:
            if pack is not None:
                self._counters.packs_built += 1
                log.info("pack.built", manifest=frames.manifest, bytes=pack.size, sha256=pack.sha256)
