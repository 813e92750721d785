"""The worlds of an endpoint: each is made when it is first named, and dropped when it is no longer needed."""

from __future__ import annotations

import gc
import tempfile
from collections import Counter
from itertools import count
from os import statvfs
from pathlib import Path

from phimage.ci.start import Start
from phimage.ci.values import BadControl
from phimage.ci.world import World
from phimage.metrics.shared import SharedMetrics

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108  each endpoint makes a folder of its own in it
MIN_MEMORY_FOLDER_BYTES = 256 << 20
"""Less free space is kept for others: Docker gives a container 64 MiB."""
MAX_WORLDS = 5000
"""Worlds at the same time. Each takes a megabyte."""
COLLECT_EVERY = 20
"""Dropped worlds after which Python looks for cycles: an application has some, and its caches hold megabytes."""


class Worlds:
    """The worlds by name. Used on the event loop alone."""

    def __init__(self, start: Start, folder: Path, max_worlds: int = MAX_WORLDS) -> None:
        self.start = start
        self._max_worlds = max_worlds
        self._folder = folder
        self._numbers = count(1)
        self._slot = SharedMetrics().claim()
        self._worlds: dict[str, World] = {}
        self._dropped = 0
        self._dropped_of_name: Counter[str] = Counter()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the worlds that there are."""
        return tuple(self._worlds)

    def get(self, name: str) -> World:
        """The world of a name, made if there is none. Raises BadControl beyond MAX_WORLDS."""
        world = self._worlds.get(name)
        if world is None:
            if len(self._worlds) >= self._max_worlds:
                many = f"there are {self._max_worlds} worlds already"
                raise BadControl(many, "end those that are no longer needed with DELETE /ci/w/NAME, or reuse names")
            folder = self._folder / str(next(self._numbers))
            world = self._worlds[name] = World(name, self.start, folder, self._slot, self._dropped_of_name[name])
        return world

    def drop(self, name: str) -> bool:
        """End a world. False if there is none. Requests that it is answering may fail."""
        world = self._worlds.pop(name, None)
        if world is None:
            return False
        world.close()
        self._dropped += 1
        self._dropped_of_name[name] += 1
        if self._dropped % COLLECT_EVERY == 0:
            gc.collect()
        return True

    def reset(self, name: str) -> None:
        """Make a world anew from the start."""
        self.drop(name)
        self.get(name)

    def close(self) -> None:
        """End all worlds."""
        for name in self.names:
            self.drop(name)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for worlds: in memory if there is room, else where temporary files are."""
    try:
        free = statvfs(MEMORY_FOLDER)
        in_memory = free.f_bavail * free.f_frsize >= MIN_MEMORY_FOLDER_BYTES
    except OSError:
        in_memory = False
    return tempfile.TemporaryDirectory(prefix="phimage-ci-", dir=MEMORY_FOLDER if in_memory else None)
