"""Makes missing frame lists: for disks that were published before there were lists, or from chunks that were there already."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from phimage.chunks.errors import BadChunk, StoreFailure
from phimage.chunks.frame_list import make_frame_list
from phimage.chunks.layout import ManifestDigest, frame_list_name
from phimage.chunks.store import Store
from phimage.delivery.disks import OpenDisk
from phimage.event_log import log
from phimage.http.counters import DownloadCounters


# docs/decisions.md#a-frame-list-is-derived
class FrameListMaker:
    """Makes lists in the background: one at a time in this process, in a thread; another discards. Used on the event loop.

    Several processes may make the same list; each makes the same one.
    """

    def __init__(self, store: Store, counters: DownloadCounters) -> None:
        self._store = store
        self._counters = counters
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="frame-list")
        self._task: asyncio.Task[None] | None = None
        self._made: ManifestDigest | None = None  # the disk of the task
        self._outdated: set[ManifestDigest] = set()  # lists that are being discarded
        self._closed = threading.Event()

    def close(self) -> None:
        """Stop making."""
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)

    def make(self, disk: OpenDisk) -> None:
        """Start to make the list of a disk, unless one is being made."""
        if (self._task is None or self._task.done()) and not self._closed.is_set():
            self._made = disk.reader.digest
            self._task = asyncio.get_running_loop().create_task(self._make(disk))

    async def discard(self, digest: ManifestDigest) -> None:
        """Remove a list that is out of date, and give up one that is being made. It is made again at the next use.

        Does not wait for the list of another disk, which may take minutes.
        """
        if self._closed.is_set():
            return
        self._outdated.add(digest)
        try:
            if self._task is not None and self._made == digest:
                await asyncio.wait([self._task])
            if self._closed.is_set():
                return
            await asyncio.get_running_loop().run_in_executor(self._threads, self._discard, digest)
        finally:
            self._outdated.discard(digest)

    async def _make(self, disk: OpenDisk) -> None:
        loop = asyncio.get_running_loop()
        manifest = disk.reader.digest

        def stopped() -> bool:
            return self._closed.is_set() or manifest in self._outdated

        try:
            frames = await loop.run_in_executor(self._threads, make_frame_list, self._store, disk.reader, stopped)
        except BadChunk as bad:
            self._counters.bad_chunks += 1
            log.error("chunk.bad", manifest=manifest, chunk=bad.chunk, index=bad.index, offset=bad.offset, kind=bad.kind)
        except StoreFailure as failure:
            log.warning("frame_list.failed", manifest=manifest, reason=str(failure))
        else:
            if frames is not None:
                disk.use(frames)
                self._counters.frame_lists_made += 1
                log.info("frame_list.made", manifest=manifest, frames=len(frames))

    def _discard(self, digest: ManifestDigest) -> None:
        try:
            self._store.delete(frame_list_name(digest))
        except StoreFailure as failure:
            log.warning("frame_list.failed", manifest=digest, reason=str(failure))
