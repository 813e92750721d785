"""The zstd cache: disks as zstd files in a folder, so that the server sends a whole file without this program reading it.

A cached file consists of verified frames. It is written to a temporary file, synced and renamed, so it exists whole or not at
all. Its name states its content: manifest, mark of the frames, size, SHA-256. Any cached file may be removed at any time; a
client that is being sent it keeps it. Together they have a limit of bytes; the least recently used one is removed first.

All processes of a machine may share the folder. Making and removing files needs an exclusive `flock` of `.lock`, so there is
one builder at a time, and an unfinished file that a new holder of the lock finds is that of a dead process.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path

from msgspec import Struct

from phimage.chunks.errors import BadChunk, StoreFailure
from phimage.chunks.layout import CHUNKS, ManifestDigest
from phimage.chunks.store import Store
from phimage.delivery.zstd_disk import ZstdDisk
from phimage.event_log import log
from phimage.files import sync_folder
from phimage.http.counters import DownloadCounters
from phimage.waiting import NotNow, Patience

RECENT_SECONDS = 60.0
"""A file used less than this ago is not evicted: the server may be about to open it."""

_NAME = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{16})\.([0-9]{1,20})\.([0-9a-f]{64})\.zst")
_UNFINISHED = ".unfinished-"
_FREE_SHARE = 2  # a file takes at most one half of the free space


class CachedFile(Struct, frozen=True):
    """A zstd file in the cache."""

    path: Path
    manifest: ManifestDigest
    mark: str  # see ZstdDisk
    size: int
    sha256: str


# docs/decisions.md#reads-verify-chunks-and-the-zstd-cache-is-verified-once
class ZstdCache:
    """The cached files of a folder, which is made when needed. With `max_bytes` 0, or a store without files, always empty."""

    def __init__(self, store: Store, folder: Path, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._max_bytes = max_bytes if store.path(CHUNKS) is not None else 0
        self._now = now

    def accepts(self, disk: ZstdDisk) -> bool:
        """Whether the disk is small enough to be cached."""
        return 0 < disk.size <= self._max_bytes

    def find(self, disk: ZstdDisk) -> CachedFile | None:
        """The cached file of a disk, without verifying it. Counts as use. Raises OSError."""
        for file in self._files() if self._max_bytes else ():
            if (file.manifest, file.mark, file.size) == (disk.manifest, disk.mark, disk.size):
                with suppress(FileNotFoundError):
                    os.utime(file.path, (self._now(), self._now()))
                    return file
        return None

    def build(self, disk: ZstdDisk, stopped: Callable[[], bool] = lambda: False) -> CachedFile | None:
        """Cache a disk. Returns None while another process builds, without room, or once `stopped` returns True.

        Raises BadChunk, StoreFailure and OSError; nothing is cached then.
        """
        if not self.accepts(disk):
            return None
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(wait=False) as is_mine:
            if not is_mine:
                return None
            self._remove_unfinished()
            file = self.find(disk)
            if file is None and self._make_room(disk):
                file = self._write(disk, stopped)
            return file

    def keep_only(self, manifests: Collection[str], patience: Patience | None = None) -> int:
        """Remove the files of all other manifests, and unfinished files. Returns the number of cached files removed.

        Waits for a file that is being built. Raises Locked when `patience` ends first.
        """
        if not self._folder.is_dir():
            return 0
        with ExitStack() as stack:
            if patience is None:
                stack.enter_context(self._locked(wait=True))
            else:
                patience.persist(f"the zstd cache in {self._folder}", lambda: self._take_lock(stack))
            self._remove_unfinished()
            others = [file for file in self._files() if file.manifest not in manifests]
            for file in others:
                file.path.unlink(missing_ok=True)
            return len(others)

    def verify(self, manifests: Collection[str] | None = None) -> Iterator[tuple[CachedFile, bool]]:
        """Compare files with the SHA-256 in their names: those of some manifests, by default all. Yields each with the result.

        Removes a damaged file at once. An unreadable file counts as damaged.
        """
        for file in self._files():
            if manifests is not None and file.manifest not in manifests:
                continue
            try:
                with file.path.open("rb") as opened:
                    good = os.fstat(opened.fileno()).st_size == file.size
                    good = good and file_digest(opened, "sha256").hexdigest() == file.sha256
            except FileNotFoundError:
                continue
            except OSError:
                good = False
            if not good:
                file.path.unlink(missing_ok=True)
            yield file, good

    def _files(self) -> list[CachedFile]:
        with suppress(FileNotFoundError):
            names = sorted(path.name for path in self._folder.iterdir())
            return [
                CachedFile(self._folder / name, ManifestDigest(match[1]), match[2], int(match[3]), match[4])
                for name in names
                if (match := _NAME.fullmatch(name))
            ]
        return []

    def _make_room(self, disk: ZstdDisk) -> bool:
        """Evict files until one more fits. False, with nothing removed, if the evictable ones are not enough."""
        if disk.size * _FREE_SHARE > shutil.disk_usage(self._folder).free:
            return False
        used = []
        for file in self._files():
            with suppress(FileNotFoundError):
                used.append((file.path.stat().st_mtime, file))
        total = sum(file.size for _, file in used)
        evicted = []
        for used_at, file in sorted(used, key=lambda pair: pair[0]):
            if total + disk.size <= self._max_bytes or used_at > self._now() - RECENT_SECONDS:
                break
            evicted.append(file)
            total -= file.size
        if total + disk.size > self._max_bytes:
            return False
        for file in evicted:
            file.path.unlink(missing_ok=True)
        return True

    def _write(self, disk: ZstdDisk, stopped: Callable[[], bool]) -> CachedFile | None:
        temporary = self._folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        digest = sha256()
        try:
            with temporary.open("xb") as opened:
                for piece in disk.pieces(0, disk.size):
                    if stopped():
                        return None
                    data = piece()
                    digest.update(data)
                    opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            name = f"{disk.manifest}.{disk.mark}.{disk.size}.{digest.hexdigest()}.zst"
            file = CachedFile(self._folder / name, disk.manifest, disk.mark, disk.size, digest.hexdigest())
            os.utime(temporary, (self._now(), self._now()))
            temporary.rename(file.path)
            sync_folder(self._folder)
        finally:
            temporary.unlink(missing_ok=True)
        return file

    def _remove_unfinished(self) -> None:
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def _take_lock(self, stack: ExitStack) -> None:
        if not stack.enter_context(self._locked(wait=False)):
            raise NotNow("a zstd file is being cached", locked=True)

    @contextmanager
    def _locked(self, *, wait: bool) -> Iterator[bool]:
        """Hold the folder's lock. Without `wait`, yields False when another process holds it."""
        lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(lock)


class ZstdCacheFiller:
    """Fills the cache in the background: one file at a time in this process, in a thread. Used on the event loop."""

    def __init__(self, cache: ZstdCache, counters: DownloadCounters) -> None:
        self._cache = cache
        self._counters = counters
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="zstd-cache")
        self._task: asyncio.Task[None] | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """Stop building."""
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)

    def find(self, disk: ZstdDisk) -> CachedFile | None:
        """The cached file of a disk. Blocks only to list a small folder. An unreadable folder counts as empty."""
        try:
            return self._cache.find(disk)
        except OSError as error:
            log.warning("zstd_cache.unreadable", reason=str(error))
            return None

    def fill(self, disk: ZstdDisk) -> None:
        """Start to cache a disk, unless one is being cached."""
        if self._cache.accepts(disk) and (self._task is None or self._task.done()) and not self._closed.is_set():
            self._task = asyncio.get_running_loop().create_task(self._fill(disk))

    async def _fill(self, disk: ZstdDisk) -> None:
        loop = asyncio.get_running_loop()
        try:
            file = await loop.run_in_executor(self._threads, self._cache.build, disk, self._closed.is_set)
        except BadChunk as bad:
            self._counters.bad_chunks += 1
            log.error("chunk.bad", manifest=bad.manifest, chunk=bad.chunk, index=bad.index, offset=bad.offset, kind=bad.kind)
        except (StoreFailure, OSError) as error:
            log.warning("zstd_cache.failed", manifest=disk.manifest, reason=str(error))
        else:
            if file is not None:
                self._counters.cached_files_built += 1
                log.info("zstd_cache.built", manifest=disk.manifest, bytes=file.size, sha256=file.sha256)
