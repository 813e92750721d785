"""The SHA-256 of a whole disk, computed in a thread of its own: the only pass over its zeros, and often the longest one."""

from __future__ import annotations

import threading
from hashlib import sha256 as new_sha256
from queue import Queue
from typing import Final

from phimage.chunks.frame import zeros
from phimage.chunks.layout import DiskDigest

_MAX_WAITING: Final = 4
"""Max pieces that wait for the thread, each up to a chunk or a run of zeros."""
_ZEROS: Final = 1 << 20


class WholeDigest:
    """Takes the pieces of a disk in order. Ends with `result` or `stop`."""

    def __init__(self) -> None:
        self._sha256 = new_sha256()
        self._waiting: Queue[bytes | int | None] = Queue(_MAX_WAITING)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="phimage-digest", daemon=True)
        self._thread.start()

    def update(self, piece: bytes | int) -> None:
        """Add bytes, or a number of zeros. Waits while the thread is behind."""
        self._waiting.put(piece)

    def result(self) -> DiskDigest:
        """The digest of everything so far; nothing more may follow."""
        self._end()
        return DiskDigest(self._sha256.hexdigest())

    def stop(self) -> None:
        """End the thread without a result. Idempotent."""
        self._stopped = True
        self._end()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (piece := self._waiting.get()) is not None:
            if self._stopped:
                continue
            if isinstance(piece, int):
                self._add_zeros(piece)
            else:
                self._sha256.update(piece)
            del piece  # free it while waiting for the next one

    def _add_zeros(self, count: int) -> None:
        block = zeros(_ZEROS)
        while count >= _ZEROS and not self._stopped:
            self._sha256.update(block)
            count -= _ZEROS
        self._sha256.update(block[:count] if count < _ZEROS else b"")
