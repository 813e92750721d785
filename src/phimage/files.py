"""Files that are written as a whole, durably: a reader, or a start after a power cut, sees the old file or the new one.

A store in a folder (`chunks.folder`) writes the same way by itself, because it holds its lock between the steps.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def create_file(path: Path, data: bytes) -> None:
    """Write a new file, mode 0600. Raises FileExistsError if there is one, and OSError."""
    _write(path, data, os.link)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file, mode 0600, in place of the one that may exist. Raises OSError."""
    _write(path, data, os.replace)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, publish: Callable[[Path, Path], None]) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
