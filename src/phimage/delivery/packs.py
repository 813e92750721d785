"""Packs: disks as zstd files, each in one file, so that the server can send it without this program reading it.

A pack is made of verified frames, in a temporary file that is synced and renamed, so it is there whole or not at all. Its name
says what is in it: manifest, mark of its frames, size, SHA-256. Packs are copies: any may be removed at any time, and who is
being sent one keeps it. Together they have a limit of bytes; the one that was not asked for longest goes first.

All processes of a machine may share the folder. Whoever makes or removes packs holds an exclusive `flock` of `.lock`, so there
is one builder at a time, and an unfinished file that a new holder finds is a dead one's.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import file_digest, sha256
from pathlib import Path

from msgspec import Struct

from phimage.chunks.layout import CHUNKS, ManifestDigest
from phimage.chunks.store import Store
from phimage.delivery.frames import Frames
from phimage.files import sync_folder
from phimage.waiting import NotNow, Patience

RECENT_SECONDS = 60.0
"""A pack that was asked for less than this ago is not removed to make room: the server may be about to open it."""

_NAME = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{16})\.([0-9]{1,20})\.([0-9a-f]{64})\.zst")
_UNFINISHED = ".unfinished-"
_FREE_SHARE = 2  # a pack takes at most one half of what is free


class Pack(Struct, frozen=True):
    """One pack."""

    path: Path
    manifest: ManifestDigest
    mark: str  # see Frames
    size: int
    sha256: str


class Packs:
    """The packs of a folder, which is made at need. With `max_bytes` 0 there are none, nor for a store without files."""

    def __init__(self, store: Store, folder: Path, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._max_bytes = max_bytes if store.path(CHUNKS) is not None else 0
        self._now = now

    def wants(self, frames: Frames) -> bool:
        """Whether a pack of these frames would be kept."""
        return 0 < frames.size <= self._max_bytes

    def find(self, frames: Frames) -> Pack | None:
        """The pack of a disk, which then counts as asked for. Does not verify it. Raises OSError."""
        for pack in self._all() if self._max_bytes else ():
            if (pack.manifest, pack.mark, pack.size) == (frames.manifest, frames.mark, frames.size):
                with suppress(FileNotFoundError):
                    os.utime(pack.path, (self._now(), self._now()))
                    return pack
        return None

    def build(self, frames: Frames, stopped: Callable[[], bool] = lambda: False) -> Pack | None:
        """Make the pack of a disk. Nothing is made while another process builds, without room, or when `stopped` says so.

        Raises BadChunk, StoreFailure and OSError; then there is no pack.
        """
        if not self.wants(frames):
            return None
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(wait=False) as mine:
            if not mine:
                return None
            self._remove_unfinished()
            found = self.find(frames)
            if found is None and self._make_room(frames):
                found = self._write(frames, stopped)
            return found

    def keep_only(self, manifests: Collection[str], patience: Patience | None = None) -> int:
        """Remove the packs of all other manifests, and what dead builders left. Returns how many packs were removed.

        Waits until no pack is being made. Raises Locked when `patience` ends before.
        """
        if not self._folder.is_dir():
            return 0
        with ExitStack() as stack:
            if patience is None:
                stack.enter_context(self._locked(wait=True))
            else:
                patience.persist(f"the packs in {self._folder}", lambda: self._take_lock(stack))
            self._remove_unfinished()
            others = [pack for pack in self._all() if pack.manifest not in manifests]
            for pack in others:
                pack.path.unlink(missing_ok=True)
            return len(others)

    def verify(self, manifests: Collection[str] | None = None) -> Iterator[tuple[Pack, bool]]:
        """The packs of some manifests, by default of all, each with whether its bytes are those of its name.

        A damaged one is removed at once. So is one that cannot be read: it counts as damaged.
        """
        for pack in self._all():
            if manifests is not None and pack.manifest not in manifests:
                continue
            try:
                with pack.path.open("rb") as file:
                    good = os.fstat(file.fileno()).st_size == pack.size
                    good = good and file_digest(file, "sha256").hexdigest() == pack.sha256
            except FileNotFoundError:
                continue
            except OSError:
                good = False
            if not good:
                pack.path.unlink(missing_ok=True)
            yield pack, good

    def _all(self) -> list[Pack]:
        with suppress(FileNotFoundError):
            names = sorted(path.name for path in self._folder.iterdir())
            return [
                Pack(self._folder / name, ManifestDigest(found[1]), found[2], int(found[3]), found[4])
                for name in names
                if (found := _NAME.fullmatch(name))
            ]
        return []

    def _make_room(self, frames: Frames) -> bool:
        """Remove packs until one more fits. False if those that may be removed are not enough."""
        if frames.size * _FREE_SHARE > shutil.disk_usage(self._folder).free:
            return False
        packs = []
        for pack in self._all():
            with suppress(FileNotFoundError):
                packs.append((pack.path.stat().st_mtime, pack))
        taken = sum(pack.size for _, pack in packs)
        removed = []
        for asked, pack in sorted(packs, key=lambda found: found[0]):
            if taken + frames.size <= self._max_bytes or asked > self._now() - RECENT_SECONDS:
                break
            removed.append(pack)
            taken -= pack.size
        if taken + frames.size > self._max_bytes:
            return False
        for pack in removed:
            pack.path.unlink(missing_ok=True)
        return True

    def _write(self, frames: Frames, stopped: Callable[[], bool]) -> Pack | None:
        temporary = self._folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        whole = sha256()
        try:
            with temporary.open("xb") as file:
                for piece in frames.pieces(0, frames.size):
                    if stopped():
                        return None
                    data = piece()
                    whole.update(data)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            name = f"{frames.manifest}.{frames.mark}.{frames.size}.{whole.hexdigest()}.zst"
            pack = Pack(self._folder / name, frames.manifest, frames.mark, frames.size, whole.hexdigest())
            os.utime(temporary, (self._now(), self._now()))
            temporary.rename(pack.path)
            sync_folder(self._folder)
        finally:
            temporary.unlink(missing_ok=True)
        return pack

    def _remove_unfinished(self) -> None:
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            path.unlink(missing_ok=True)

    def _take_lock(self, stack: ExitStack) -> None:
        if not stack.enter_context(self._locked(wait=False)):
            raise NotNow("a pack is being made", locked=True)

    @contextmanager
    def _locked(self, *, wait: bool) -> Iterator[bool]:
        """Hold the folder's lock; without `wait` it may be another's, and then False."""
        file = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(file)
