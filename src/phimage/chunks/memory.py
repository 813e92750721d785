"""A store in memory, for tests and trials. It implements the same contract as the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from phimage.chunks.errors import Absent, StoreFailure
from phimage.chunks.store import MAX_OBJECT_BYTES, Stored, check_name, check_prefix, inside


class _Held(Struct, frozen=True):
    data: bytes
    modified: float


class MemoryStore:
    """Objects in memory. They last as long as the process."""

    settle_seconds = 0.0

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self.objects: dict[str, _Held] = {}

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        check_name(name)
        if len(data) > MAX_OBJECT_BYTES:
            raise StoreFailure("put", name, "too large")
        with self._lock:
            self.objects[name] = _Held(bytes(data), self._now())

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """See Store."""
        for name, data in objects:
            self.put(name, data)

    def get(self, name: str) -> bytes:
        """See Store."""
        held = self.objects.get(check_name(name))
        if held is None:
            raise Absent(name)
        return held.data

    def find(self, name: str) -> Stored | None:
        """See Store."""
        held = self.objects.get(check_name(name))
        return None if held is None else Stored(name, len(held.data), held.modified)

    def refresh(self, name: str, since: float) -> Stored | None:
        """See Store."""
        with self._lock:
            held = self.objects.get(check_name(name))
            if held is None:
                return None
            if held.modified < since:
                held = self.objects[name] = _Held(held.data, self._now())
            return Stored(name, len(held.data), held.modified)

    def delete(self, name: str, before: float | None = None) -> bool:
        """See Store."""
        with self._lock:
            held = self.objects.get(check_name(name))
            if held is not None and before is not None and held.modified >= before:
                return False
            self.objects.pop(name, None)
            return True

    def delete_old(self, names: Sequence[str], before: float) -> Sequence[str]:
        """See Store."""
        return [name for name in names if self.delete(name, before)]

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See Store."""
        check_prefix(prefix)
        with self._lock:
            objects = dict(self.objects)
        for name, held in objects.items():
            if inside(name, prefix):
                yield Stored(name, len(held.data), held.modified)

    def sync(self, names: Iterable[str]) -> None:
        """See Store."""

    def path(self, name: str) -> Path | None:
        """See Store."""
        check_name(name)
        return None

    def free_bytes(self) -> int | None:
        """See Store."""
        return None

    def tidy(self, before: float) -> int:
        """See Store."""
        return 0

    def describe(self) -> str:
        """See Store."""
        return "memory"

    def close(self) -> None:
        """See Store."""
