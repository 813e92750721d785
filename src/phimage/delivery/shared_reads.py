"""Reads of stored frames that several downloads of one disk share, so that machines which are deployed together cost the store
the reads of one.

A frame that is being read is read once for all who want it. While a disk has several downloads, and for some seconds after, the
frames that they read are also kept, within a bound of bytes. A client that asks for parts is likely to be one of several and is
between two requests most of the time, so each of them counts as several. What a download of the whole reads alone is not kept.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

from msgspec import Struct

from phimage.chunks.layout import ManifestDigest
from phimage.chunks.read import ObjectSource

SHARED_SECONDS = 30.0
"""How long a frame is kept, and how long a disk that had several downloads at once counts as one that has."""


class _Frame(Struct, frozen=True):
    """A frame as it was read, and when."""

    data: bytes
    read: float


class _DiskSource:
    """What the reader of one disk gets its frames from."""

    def __init__(self, get: Callable[[str], bytes]) -> None:
        self.get = get


# docs/decisions.md#downloads-that-run-together-share-reads
class SharedReads:
    """The shared reads of one process. Thread-safe.

    What is kept is not trusted: each download verifies the frames that it is given. Who finds a bad one calls `forget`.
    """

    def __init__(self, store: ObjectSource, max_bytes: int, now: Callable[[], float] = time.monotonic) -> None:
        """`max_bytes`: of all frames that are kept."""
        self._store = store
        self._max_bytes = max_bytes
        self._now = now
        self._lock = threading.Lock()
        self._reading: dict[str, Future[bytes]] = {}
        self._kept: OrderedDict[str, _Frame] = OrderedDict()  # in the order of their reading
        self._kept_bytes = 0
        self._downloads: Counter[ManifestDigest] = Counter()
        self._shared_until: dict[ManifestDigest, float] = {}
        self._sweeps_at = 0.0

    @property
    def kept_bytes(self) -> int:
        """The bytes of all frames that are kept now."""
        return self._kept_bytes

    def source(self, manifest: ManifestDigest) -> ObjectSource:
        """What the reader of a disk gets its frames from."""
        return _DiskSource(partial(self._get, manifest))

    @contextmanager
    def download(self, manifest: ManifestDigest, *, of_part: bool) -> Iterator[None]:
        """Count a download of a disk, or of a part of it, while it is being sent. On the event loop."""
        count = 2 if of_part else 1
        with self._lock:
            self._downloads[manifest] += count
            self._share(manifest)
        try:
            yield
        finally:
            with self._lock:
                self._share(manifest)
                self._downloads -= Counter({manifest: count})  # which also drops a disk without downloads
                sweeps = bool(self._kept or self._shared_until) and self._now() >= self._sweeps_at
            if sweeps:
                self._sweep()

    def forget(self, name: str) -> None:
        """Drop a frame that is bad or was replaced, so that the next read is one of the store."""
        with self._lock:
            self._drop(name)

    def _get(self, manifest: ManifestDigest, name: str) -> bytes:
        """An object: kept, from a read in progress, or from the store. Raises what the store raises."""
        with self._lock:
            kept = self._kept.get(name)
            if kept is not None and self._now() < kept.read + SHARED_SECONDS:
                return kept.data
            reading, is_mine = self._reading.get(name), False
            if reading is None:
                reading = self._reading[name] = Future()
                is_mine = True
        if not is_mine:
            return reading.result()
        began = self._now()
        try:
            data = self._store.get(name)
        except BaseException as error:
            with self._lock:
                del self._reading[name]
            reading.set_exception(error)
            raise
        with self._lock:
            del self._reading[name]
            if self._now() < self._shared_until.get(manifest, 0.0):  # maybe only since the read began
                self._keep(name, _Frame(data, began))
        reading.set_result(data)
        return data

    def _share(self, manifest: ManifestDigest) -> None:
        """Note that a disk has several downloads, if it has."""
        if self._downloads[manifest] > 1:
            self._shared_until[manifest] = self._now() + SHARED_SECONDS

    def _keep(self, name: str, frame: _Frame) -> None:
        self._drop(name)
        if len(frame.data) > self._max_bytes:
            return
        self._kept[name] = frame
        self._kept_bytes += len(frame.data)
        while self._kept_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: str) -> None:
        dropped = self._kept.pop(name, None)
        if dropped is not None:
            self._kept_bytes -= len(dropped.data)

    def _sweep(self) -> None:
        """Drop what is too old to be used, now and until nothing is left."""
        with self._lock:
            now = self._now()
            for name in [name for name, frame in self._kept.items() if now >= frame.read + SHARED_SECONDS]:
                self._drop(name)
            self._shared_until = {disk: until for disk, until in self._shared_until.items() if now < until}
            again = bool(self._kept or self._shared_until)
            self._sweeps_at = now + SHARED_SECONDS if again else 0.0
        if again:
            asyncio.get_running_loop().call_later(SHARED_SECONDS, self._sweep)
