"""A store in a folder of a local file system, one file for each object.

A put writes a temporary file, fsyncs it, renames it into place, and fsyncs the folder. Every folder is made durable in the same
way before this process first uses it. Where the file system can be synced as a whole, a batch of puts does so twice: before
its files are renamed, and afterwards. Files are 0600, folders 0700.

Renaming and refreshing hold a shared lock on `.lock`, removing by age an exclusive one, so that checking an object's age and
removing it are one step for all processes on this machine. On a network file system this needs working file locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from phimage.chunks.errors import Absent, Reason, StoreFailure
from phimage.chunks.file_system_sync import can_sync_file_system, sync_file_system
from phimage.chunks.store import MAX_OBJECT_BYTES, Stored, check_name, check_prefix

_REASONS: dict[int, Reason] = {
    errno.ENOSPC: "no space",
    errno.EDQUOT: "no space",
    errno.EIO: "input/output error",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
    errno.EROFS: "not permitted",
    errno.EAGAIN: "busy",
}
_PASSING = frozenset({errno.EAGAIN, errno.EINTR, errno.ENFILE, errno.EMFILE, errno.ESTALE, errno.ETIMEDOUT})
_NOT_THERE = (FileNotFoundError, NotADirectoryError)
_NO_OBJECT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})  # nothing, a symbolic link, a socket
_READ_BYTES = 32 << 20  # a part at once: joining it would take twice its memory
LOCK_POLL_SECONDS = 0.002
"""Seconds between two attempts to take the lock, which others hold for milliseconds at most."""
HELD_SECONDS = 0.005
"""Seconds for which a removal of many objects holds the lock before others may have it."""
_REMOVERS = 4
"""Threads that remove files while one of them waits for the journal."""


class SystemCalls(Struct, frozen=True):
    """The system calls of a put, replaceable so that a test can record them or make them fail."""

    open: Callable[..., int] = os.open
    write: Callable[[int, memoryview], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    syncfs: Callable[[int], None] = sync_file_system
    utime: Callable[..., None] = os.utime
    rename: Callable[[Path, Path], None] = os.replace
    mkdir: Callable[[Path, int], None] = os.mkdir
    close: Callable[[int], None] = os.close


class FolderStore:
    """Objects as files in a folder, which is created if missing. Several processes of one machine may share it."""

    settle_seconds = 0.0

    def __init__(
        self,
        root: Path,
        now: Callable[[], float] = time.time,
        calls: SystemCalls | None = None,
        lock_seconds: float | None = None,
    ) -> None:
        """`lock_seconds`: how long a call waits for the folder's lock before it fails as busy; None waits without limit."""
        self._root = root.absolute()
        self._text = str(self._root)
        self._lock_seconds = lock_seconds
        self._now = now
        self._calls = SystemCalls() if calls is None else calls
        self._durable: set[Path] = set()
        self._durable_lock = threading.Lock()
        with _translated_errors("open", str(root)):
            if not self._root.is_dir():
                self._root.parent.mkdir(parents=True, exist_ok=True)
                self._make_durable(self._root)
            self._durable.add(self._root)
            self._make_durable(self._root / ".tmp")
            os.close(os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._syncs_whole = can_sync_file_system(self._root)

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        check_name(name)
        if len(data) > MAX_OBJECT_BYTES:
            raise StoreFailure("put", name, "too large")
        target = self._root / name
        temporary = self._root / ".tmp" / secrets.token_hex(16)
        with _translated_errors("put", name):
            self._make_durable(target.parent)
            try:
                self._write(temporary, data)
                with self._locked(fcntl.LOCK_SH):
                    self._calls.rename(temporary, target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            self._sync(target.parent)

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """See Store."""
        if not self._syncs_whole or len(objects) < 2:
            for name, data in objects:
                self.put(name, data)
            return
        for name, data in objects:
            check_name(name)
            if len(data) > MAX_OBJECT_BYTES:
                raise StoreFailure("put", name, "too large")
        with _translated_errors("put", objects[0][0]), self._opened_folder(self._root) as whole:
            # `whole` was opened before the first write: a sync reports the errors since then.
            drafts: dict[Path, Path] = {}
            folders: set[Path] = set()
            try:
                for name, data in objects:
                    target, draft = self._root / name, self._root / ".tmp" / secrets.token_hex(16)
                    self._make(target.parent, folders)
                    drafts[draft] = target
                    self._write(draft, data, sync=False)
                self._calls.syncfs(whole)
                with self._locked(fcntl.LOCK_SH):
                    for draft, target in drafts.items():
                        self._calls.rename(draft, target)
            except BaseException:
                for draft in drafts:
                    with suppress(OSError):
                        draft.unlink(missing_ok=True)
                raise
            self._calls.syncfs(whole)
        with self._durable_lock:
            self._durable |= folders

    def get(self, name: str) -> bytes:
        """See Store."""
        check_name(name)
        with _translated_errors("get", name):
            try:
                # O_NONBLOCK: opening a FIFO would wait for a writer; it changes nothing for a regular file.
                file = os.open(f"{self._text}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in _NO_OBJECT:
                    raise Absent(name) from None
                raise
            try:
                status = os.fstat(file)
                if not stat.S_ISREG(status.st_mode):
                    raise Absent(name)
                if status.st_size > MAX_OBJECT_BYTES:
                    raise StoreFailure("get", name, "too large")
                pieces, left, wanted = list[bytes](), status.st_size, 0
                while not pieces or len(pieces[-1]) == wanted:  # a short read is the end of a regular file
                    wanted = min(left + 1, _READ_BYTES)  # beyond its end, which may have moved
                    pieces.append(os.read(file, wanted))
                    left = max(0, left - len(pieces[-1]))
            finally:
                os.close(file)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def find(self, name: str) -> Stored | None:
        """See Store."""
        check_name(name)
        with _translated_errors("find", name):
            return self._stored(name)

    def refresh(self, name: str, since: float) -> Stored | None:
        """See Store."""
        check_name(name)
        with _translated_errors("refresh", name):
            stored = self._stored(name)
            if stored is None or stored.modified >= since:
                return stored  # without the lock: no collection removes a young object
            with self._locked(fcntl.LOCK_SH), suppress(*_NOT_THERE):
                self._set_modified(self._root / name)
            return self._stored(name)

    def delete(self, name: str, before: float | None = None) -> bool:
        """See Store."""
        check_name(name)
        with _translated_errors("delete", name), self._locked(fcntl.LOCK_EX):
            stored = self._stored(name)
            if stored is None:
                return True
            if before is not None and stored.modified >= before:
                return False
            self._unlink(name)
            return True

    def delete_old(self, names: Sequence[str], before: float) -> Sequence[str]:
        """See Store. Lets writers have the lock every few milliseconds."""
        left, absent = deque(check_name(name) for name in names), list[str]()

        def remove(ends: float) -> None:
            with suppress(IndexError):
                while time.monotonic() < ends:
                    name = left.popleft()
                    with _translated_errors("delete", name):
                        stored = self._stored(name)
                        if stored is not None and stored.modified >= before:
                            continue
                        if stored is not None:
                            self._unlink(name)
                    absent.append(name)

        # docs/decisions.md#old-objects-are-removed-in-batches
        with ThreadPoolExecutor(_REMOVERS, thread_name_prefix="phimage-remove") as pool:
            while left:
                with _translated_errors("delete", left[0]), self._locked(fcntl.LOCK_EX):
                    ends = time.monotonic() + HELD_SECONDS
                    removers = [pool.submit(remove, ends) for _ in range(_REMOVERS)]
                    wait(removers)  # all of them, before the lock is released
                for remover in removers:
                    remover.result()
        return absent

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See Store."""
        folders = [check_prefix(prefix)]
        while folders:
            folder = folders.pop()
            with _translated_errors("list", folder):
                entries = self._entries(folder)
            for name, entry in entries:
                with _translated_errors("list", name):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(name)
                    if not entry.is_file(follow_symlinks=False):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except _NOT_THERE:
                        continue
                yield Stored(name, status.st_size, status.st_mtime_ns / 1e9)

    def sync(self, names: Iterable[str]) -> None:
        """See Store."""
        folders = sorted({(self._root / check_name(name)).parent for name in names})
        if self._syncs_whole and len(folders) > 1:
            made: set[Path] = set()
            with _translated_errors("sync", str(self._root)), self._opened_folder(self._root) as whole:
                for folder in folders:
                    self._make(folder, made)
                self._calls.syncfs(whole)
            with self._durable_lock:
                self._durable |= made
            return
        for folder in folders:
            with _translated_errors("sync", str(folder)):
                self._make_durable(folder)
                self._sync(folder)

    def path(self, name: str) -> Path | None:
        """See Store."""
        return self._root / check_name(name)

    def free_bytes(self) -> int | None:
        """See Store. Without the blocks that are reserved for root."""
        with _translated_errors("free_bytes", str(self._root)):
            status = os.statvfs(self._root)
            return status.f_bavail * status.f_frsize

    def tidy(self, before: float) -> int:
        """See Store."""
        removed = 0
        with _translated_errors("tidy", ".tmp"), os.scandir(self._root / ".tmp") as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # its writer is alive, or another process tidies
                    if entry.stat(follow_symlinks=False).st_mtime < before:
                        Path(entry.path).unlink()
                        removed += 1
        return removed

    def describe(self) -> str:
        """See Store."""
        return f"folder {self._root}"

    def close(self) -> None:
        """See Store."""

    def _stored(self, name: str) -> Stored | None:
        try:
            status = os.lstat(f"{self._text}/{name}")
        except _NOT_THERE:
            return None
        return Stored(name, status.st_size, status.st_mtime_ns / 1e9) if stat.S_ISREG(status.st_mode) else None

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(f"{self._text}/{name}")  # noqa: PTH108  a Path for each of a million objects takes longer than its removal

    def _entries(self, folder: str) -> Sequence[tuple[str, os.DirEntry[str]]]:
        """The entries of a folder whose names objects can have, with these names. None are hidden or foreign: lost+found."""
        found = []
        with suppress(*_NOT_THERE), os.scandir(f"{self._text}/{folder}" if folder else self._text) as entries:
            for entry in entries:
                with suppress(ValueError):
                    found.append((check_name(f"{folder}/{entry.name}" if folder else entry.name), entry))
        return found

    def _write(self, temporary: Path, data: bytes, *, sync: bool = True) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = self._calls.open(temporary, flags, 0o600)
        try:
            left = memoryview(data)
            while left:
                left = left[self._calls.write(file, left) :]
            self._set_modified(file)
            if sync:
                self._calls.fsync(file)
        finally:
            self._calls.close(file)

    def _set_modified(self, file: Path | int) -> None:
        at = int(self._now() * 1e9)
        self._calls.utime(file, ns=(at, at))

    def _make_durable(self, folder: Path) -> None:
        """Create a folder and its parents, and make them durable."""
        if folder in self._durable:
            return
        if folder != self._root:
            self._make_durable(folder.parent)
        with suppress(FileExistsError):
            self._calls.mkdir(folder, 0o700)
        self._sync(folder.parent)  # even if another process created it
        with self._durable_lock:
            self._durable.add(folder)

    def _make(self, folder: Path, made: set[Path]) -> None:
        """Create a folder and its parents, and add those to `made` that the next sync of the file system makes durable."""
        if folder in self._durable or folder in made:
            return
        self._make(folder.parent, made)
        with suppress(FileExistsError):
            self._calls.mkdir(folder, 0o700)
        made.add(folder)

    def _sync(self, folder: Path) -> None:
        with self._opened_folder(folder) as file:
            self._calls.fsync(file)

    @contextmanager
    def _opened_folder(self, folder: Path) -> Iterator[int]:
        file = self._calls.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield file
        finally:
            self._calls.close(file)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold the store's lock file. Each holder opens it again, so that threads of one process also exclude each other."""
        file = os.open(self._root / ".lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._take_lock(file, how)
            yield
        finally:
            os.close(file)

    def _take_lock(self, file: int, how: int) -> None:
        if self._lock_seconds is None:
            fcntl.flock(file, how)
            return
        ends = time.monotonic() + self._lock_seconds
        while True:
            try:
                fcntl.flock(file, how | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise BlockingIOError(errno.EAGAIN, "another process holds its lock") from None
            time.sleep(LOCK_POLL_SECONDS)


@contextmanager
def _translated_errors(operation: str, name: str) -> Iterator[Any]:
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = _REASONS.get(number, "failed")
        detail = (error.strerror if number == errno.EAGAIN else None) or os.strerror(number)
        raise StoreFailure(operation, name, reason, detail, passing=number in _PASSING) from error
