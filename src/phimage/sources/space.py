"""Room on the disk that work files are written to: some always stays free, for the database beside them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from phimage.sources.errors import TooLarge

Free = Callable[[Path], int]
"""How many bytes are free where a folder is."""

EVERY: Final = 64 * 1024 * 1024
"""After so many bytes written it is looked again."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REMEDY: Final = "make room there, or give another folder; then run the same again"


def free_bytes(folder: Path) -> int:
    """What the operating system says."""
    return shutil.disk_usage(folder).free


class Room:
    """A folder in which `reserve` bytes stay free."""

    def __init__(self, folder: Path, reserve: int, free: Free = free_bytes) -> None:
        self._folder = folder
        self._reserve = reserve
        self._free = free

    def check(self, where: str, more: int) -> None:
        """Raises TooLarge when so many more bytes would not leave the reserve."""
        free = self._free(self._folder)
        if free - more < self._reserve:
            told = f"{more} bytes more do not fit into {self._folder}, where {free} are free and {self._reserve} stay so"
            raise TooLarge(where, told, _REMEDY, reason="space")

    @contextmanager
    def writing(self, where: str) -> Iterator[None]:
        """Turns the disk's own word that it is full into TooLarge."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise TooLarge(where, f"{self._folder} is full", _REMEDY, reason="space") from None
