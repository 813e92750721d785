"""What only a folder can show: the order of system calls, failing disks, full disks, killed writers, modes."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import pytest
from msgspec.structs import asdict

import phimage.chunks.folder
from phimage.chunks.errors import Absent, StoreFailure
from phimage.chunks.file_system_sync import can_sync_file_system
from phimage.chunks.folder import FolderStore, SystemCalls
from phimage.chunks.gc import collect_garbage
from phimage.chunks.layout import ManifestDigest, chunk_name, digest_of_name, manifest_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.read import open_disk
from phimage.chunks.scrub import ScrubFinding, scrub
from phimage.chunks.store import MAX_OBJECT_BYTES
from phimage.chunks.write import DiskWriter, Written
from tests.small_disk import small_disk

CHUNK = 64 << 10
DAYS = 2 * 86400.0

# durable when it returns


class Recorder:
    """System calls as they happen, in words."""

    def __init__(self, root: Path) -> None:
        self.said: list[str] = []
        self._root = root
        self._files: dict[int, str] = {}
        real = SystemCalls()

        def name(path: Path | int) -> str:
            if isinstance(path, int):
                return self._files[path]
            told = str(path.relative_to(root)) if path.is_relative_to(root) else ".."
            return re.sub(r"^\.tmp/\w+$", "TEMPORARY", told)

        def opened(path: Path, *how: int) -> int:
            file = real.open(path, *how)
            self._files[file] = name(path)
            return file

        def say(word: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def said(*arguments: Any, **named: Any) -> Any:
                self.said.append(" ".join([word, *(name(each) for each in arguments if isinstance(each, Path | int))]))
                return call(*arguments, **named)

            return said

        self.calls = SystemCalls(
            open=opened,
            write=say("write", real.write),
            fsync=say("fsync", real.fsync),
            syncfs=say("syncfs", real.syncfs),
            utime=real.utime,
            rename=say("rename", real.rename),
            mkdir=lambda path, mode: say("mkdir", lambda path: real.mkdir(path, mode))(path),
            close=real.close,
        )


def test_a_put_is_synced_before_it_is_renamed_and_its_folder_before_it_returns(tmp_path: Path) -> None:
    root = tmp_path / "store"
    recorder = Recorder(root)
    store = FolderStore(root, calls=recorder.calls)
    assert recorder.said == ["mkdir .", "fsync ..", "mkdir .tmp", "fsync ."]

    recorder.said.clear()
    store.put("a/b/c", b"1")
    assert recorder.said == [
        *("mkdir a", "fsync .", "mkdir a/b", "fsync a"),
        *("write TEMPORARY", "fsync TEMPORARY", "rename TEMPORARY a/b/c", "fsync a/b"),
    ]
    recorder.said.clear()
    store.put("a/b/d", b"2")
    assert recorder.said == ["write TEMPORARY", "fsync TEMPORARY", "rename TEMPORARY a/b/d", "fsync a/b"]

    other = Recorder(root)  # another process, which finds the folders made but cannot know whether they were synced
    FolderStore(root, calls=other.calls).sync(["a/b/c", "a/b/d"])
    assert other.said[2:] == ["mkdir a", "fsync .", "mkdir a/b", "fsync a", "fsync a/b"]


def test_a_chunk_that_another_process_has_only_just_put_is_durable_before_the_manifest_relies_on_it(tmp_path: Path) -> None:
    root = tmp_path / "store"
    written = publish(FolderStore(root))
    recorder = Recorder(root)
    store = FolderStore(root, calls=recorder.calls)
    recorder.said.clear()

    assert publish(store).new_chunks == 0

    put = recorder.said.index(f"rename TEMPORARY {manifest_name(written.digest)}")
    folders = {f"fsync {Path(chunk_name(chunk)).parent}" for _, chunk in written.manifest.stored()}
    assert "syncfs ." in recorder.said[:put] or folders <= set(recorder.said[:put])


def test_a_batch_is_synced_as_a_whole_before_its_files_are_renamed_and_once_more_before_it_returns(tmp_path: Path) -> None:
    if not can_sync_file_system(tmp_path):
        pytest.skip("this file system is synced file by file")
    recorder = Recorder(tmp_path / "store")
    store = FolderStore(tmp_path / "store", calls=recorder.calls)
    recorder.said.clear()

    store.put_all([("a/b", b"1"), ("a/c", b"2")])

    assert recorder.said == [
        *("mkdir a", "write TEMPORARY", "write TEMPORARY", "syncfs ."),
        *("rename TEMPORARY a/b", "rename TEMPORARY a/c", "syncfs ."),
    ]
    recorder.said.clear()
    store.put_all([("a/d", b"3")])  # one alone does not sync what others write
    store.put("a/e", b"4")
    assert [call for call in recorder.said if "sync" in call] == ["fsync TEMPORARY", "fsync a"] * 2


def test_where_a_sync_of_the_file_system_promises_nothing_each_file_of_a_batch_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phimage.chunks.folder, "can_sync_file_system", lambda _: False)
    recorder = Recorder(tmp_path / "store")
    store = FolderStore(tmp_path / "store", calls=recorder.calls)
    recorder.said.clear()

    store.put_all([("a/b", b"1"), ("a/c", b"2")])
    store.sync(["a/b", "b/c"])

    assert "syncfs ." not in recorder.said
    assert recorder.said.count("fsync TEMPORARY") == 2
    assert recorder.said[-1] == "fsync b"


PUBLISH = """
import os, random, sys
from pathlib import Path
from phimage.chunks.folder import FolderStore
from phimage.chunks.write import DiskWriter

with DiskWriter(FolderStore(Path(sys.argv[1])), 5 << 16, chunk_size=1 << 16) as writer:
    writer.write(random.Random(1).randbytes(5 << 16))
    written = writer.finish({})
os.write(1, b"published")
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed; the recorder above shows the order")
def test_nothing_is_told_as_published_before_it_is_synced_as_the_kernel_sees_it(tmp_path: Path) -> None:
    root, log = tmp_path / "store", tmp_path / "log"
    trace = "trace=openat,write,fsync,syncfs,rename,close"
    subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", log, "-e", trace, sys.executable, "-c", PUBLISH, root],
        check=True,
        capture_output=True,
        timeout=60,
    )
    synced: set[str] = set()
    dirty: set[str] = set()  # written and not synced
    unsynced_folders: set[str] = set()
    renamed: list[str] = []
    for line in _finished(log.read_text()):
        if found := re.match(r"write\(\d+<([^>]*)>", line):
            if found[1].startswith(str(root)):
                dirty.add(found[1])
            elif '"published"' in line:
                assert not dirty
                assert not unsynced_folders
                assert len(renamed) == 7
                break
        elif found := re.match(r"fsync\(\d+<([^>]*)>\) += 0", line):
            synced.add(found[1])
            dirty.discard(found[1])
            unsynced_folders.discard(found[1])
        elif re.match(r"syncfs\(\d+<[^>]*>\) += 0", line):
            synced |= dirty
            dirty.clear()
            unsynced_folders.clear()
        elif found := re.match(r'rename\("([^"]*)", "([^"]*)"\) += 0', line):
            assert found[1] in synced
            assert found[1] not in dirty
            if "/manifests/" in found[2]:
                assert not unsynced_folders, "the manifest was put before its chunks were durable"
            unsynced_folders.add(str(Path(found[2]).parent))
            renamed.append(found[2])
    else:
        pytest.fail("the program told nothing")
    assert "/manifests/" in renamed[-1]


def _finished(log: str) -> Iterator[str]:
    """Calls in the order in which they returned. With several threads strace prints a call in two halves."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        thread, call = line.split(maxsplit=1)
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
        elif found := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            yield begun.pop(thread) + found[1].lstrip()
        else:
            yield call


def test_files_and_folders_are_for_the_owner_alone(tmp_path: Path) -> None:
    os.umask(old := os.umask(0))
    try:
        os.umask(0)
        FolderStore(tmp_path / "store").put("a/b", b"1")
    finally:
        os.umask(old)

    modes = {str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"store": 0o700, "store/.lock": 0o600, "store/.tmp": 0o700, "store/a": 0o700, "store/a/b": 0o600}


# failing disks


class Failing:
    """Makes the n-th system call of a put fail."""

    def __init__(self, number: int, error: int) -> None:
        self.left = number
        self._error = error
        real = SystemCalls()
        self.calls = SystemCalls(**{name: self._failing(name, call) for name, call in asdict(real).items()})

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                if name == "close":
                    call(*arguments)
                raise OSError(self._error, os.strerror(self._error))
            return None if name in ("fsync", "syncfs") else call(*arguments, **named)

        return made


def publish(store: FolderStore, chunks: int = 2, seed: int = 1) -> Written:
    with DiskWriter(store, chunks * CHUNK, chunk_size=CHUNK, workers=1) as writer:
        writer.write(random.Random(seed).randbytes(chunks * CHUNK))
        return writer.finish({"seed": seed})


def check_whole(store: FolderStore) -> None:
    """Check that every visible object matches its name, and every manifest has its chunks."""
    for stored in store.list():
        digest = digest_of_name(stored.name)
        assert digest is not None
        if stored.name.startswith("manifests/"):
            assert not [found for found in scrub(store, [ManifestDigest(digest)], now=0) if isinstance(found, ScrubFinding)]


@pytest.mark.parametrize("error", [errno.EIO, pytest.param(errno.ENOSPC, marks=pytest.mark.more)])
def test_a_disk_error_at_any_call_is_told_and_leaves_nothing_half_done(tmp_path: Path, error: int) -> None:
    counting = Failing(0, error)
    publish(FolderStore(tmp_path / "counted", calls=counting.calls))
    every = -counting.left
    assert every > 40

    for number in range(1, every + 1):
        root = tmp_path / str(number)
        failing = Failing(number, error)
        with pytest.raises(StoreFailure) as raised:
            publish(FolderStore(root, calls=failing.calls))
        assert raised.value.reason == {errno.EIO: "input/output error", errno.ENOSPC: "no space"}[error]
        assert not raised.value.passing

        store = FolderStore(root, calls=SystemCalls(fsync=lambda _: None, syncfs=lambda _: None))
        assert list((root / ".tmp").iterdir()) == []
        check_whole(store)
        written = publish(store)  # trying again works
        assert open_disk(store, written.digest).read(0, 2 * CHUNK) == random.Random(1).randbytes(2 * CHUNK)
        assert collect_garbage(store, list, now=time.time() + DAYS).removed_manifests == 1
        assert list(store.list()) == []
        shutil.rmtree(root)


def test_a_full_disk_ends_a_publication_and_the_space_comes_back(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "3m") as folder:
        store = FolderStore(folder / "store")
        kept = publish(store, chunks=8, seed=1)
        free = store.free_bytes()
        assert free is not None

        with pytest.raises(StoreFailure) as raised:
            publish(store, chunks=60, seed=2)

        assert raised.value.reason == "no space"
        assert list((folder / "store" / ".tmp").iterdir()) == []
        check_whole(store)
        collect_garbage(store, lambda: [kept.digest], now=time.time() + DAYS)
        freed = store.free_bytes()
        assert freed is not None
        assert abs(freed - free) < 2 * CHUNK  # but for folders
        publish(store, chunks=16, seed=3)
        assert open_disk(store, kept.digest).read(0, 8 * CHUNK) == random.Random(1).randbytes(8 * CHUNK)


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StoreFailure):
        FolderStore(tmp_path / "file")
    with pytest.raises(StoreFailure):
        FolderStore(tmp_path / "file" / "store")


# killed writers

KILLED = """
import os, random, sys
from pathlib import Path
from phimage.chunks.folder import FolderStore
from phimage.chunks.write import DiskWriter

store, seed = FolderStore(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
while True:
    seed += 1
    with DiskWriter(store, 12 << 16, chunk_size=1 << 16) as writer:
        writer.write(random.Random(seed % 50).randbytes(6 << 16))
        writer.write(random.Random(seed).randbytes(6 << 16))
        print(writer.finish({"seed": seed}).digest, flush=True)
"""


def read_digest(lines: IO[str]) -> ManifestDigest:
    return ManifestDigest(lines.readline().strip())


def test_a_killed_writer_leaves_whole_objects_and_what_it_told_is_there(tmp_path: Path) -> None:
    root = tmp_path / "store"
    chance = random.Random(7)
    told: list[ManifestDigest] = []
    for turn in range(int(os.environ.get("PHIMAGE_KILLS", "8"))):
        program = subprocess.Popen([sys.executable, "-c", KILLED, root, str(turn * 1000)], stdout=subprocess.PIPE, text=True)
        with program:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            told += [read_digest(program.stdout) for _ in range(3 if turn == 0 else 0)]
            time.sleep(chance.uniform(0.0, 0.15))
            program.send_signal(signal.SIGKILL)
            told += [ManifestDigest(line.strip()) for line in program.stdout if len(line) == 65]

    store = FolderStore(root)
    leftovers = len(list((root / ".tmp").iterdir()))
    check_whole(store)
    for stored in store.list("chunks"):
        assert store.get(stored.name)
    wrong = [found for found in scrub(store, told, now=0, whole_disk=True) if isinstance(found, ScrubFinding)]
    assert wrong == []
    report = collect_garbage(store, lambda: told, now=time.time() + DAYS)
    assert report.leftovers == leftovers
    assert list((root / ".tmp").iterdir()) == []
    needed = {chunk for digest in told for _, chunk in load_manifest(store, digest).stored()}
    assert len(list(store.list("chunks"))) == len(needed)
    assert len(list(store.list("manifests"))) == len(set(told)) >= 3


def test_the_temporary_file_of_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    (tmp_path / ".tmp" / "living").write_bytes(b"half")
    (tmp_path / ".tmp" / "dead").write_bytes(b"half")
    os.utime(tmp_path / ".tmp" / "dead", (1000, 1000))

    assert store.tidy(time.time() - 3600) == 1
    assert [path.name for path in (tmp_path / ".tmp").iterdir()] == ["living"]


# what else lies in the folder


def test_what_is_no_object_is_neither_listed_nor_read(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a/b", b"1")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "a" / ".hidden").write_bytes(b"2")
    (tmp_path / "a" / "UPPER").write_bytes(b"3")
    (tmp_path / "a" / "link").symlink_to("b")

    assert [stored.name for stored in store.list()] == ["a/b"]
    assert store.find("a/link") is None
    with pytest.raises((Absent, StoreFailure)):
        store.get("a/link")
    with pytest.raises(Absent):
        store.get("a")


def test_putting_and_refreshing_wait_for_a_removal_by_age(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a", b"1")
    calls: list[Callable[[], object]] = [lambda: store.put("a", b"2"), lambda: store.refresh("a", time.time() + 100)]
    with (tmp_path / ".lock").open("r+b") as held, ThreadPoolExecutor(2) as pool:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = [pool.submit(call) for call in calls]
        time.sleep(0.1)
        assert not any(call.done() for call in waiting)
        assert store.get("a") == b"1"  # readers do not
        fcntl.flock(held, fcntl.LOCK_UN)
        for call in waiting:
            call.result(60)
    assert store.get("a") == b"2"


def test_a_removal_by_age_waits_for_whoever_is_about_to_refresh(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a", b"1")
    with (tmp_path / ".lock").open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        program = "import sys; from pathlib import Path; from phimage.chunks.folder import FolderStore as F;"
        program += "s = F(Path(sys.argv[1])); print('ready', flush=True); print(s.delete('a', float(sys.argv[2])))"
        with subprocess.Popen(
            [sys.executable, "-c", program, tmp_path, str(time.time() + 5)], stdout=subprocess.PIPE, text=True
        ) as removing:
            assert removing.stdout is not None
            assert removing.stdout.readline() == "ready\n"
            time.sleep(0.1)
            assert store.find("a") is not None
            later = time.time() + 100
            os.utime(tmp_path / "a", (later, later))
            fcntl.flock(held, fcntl.LOCK_UN)
            assert removing.stdout.readline() == "False\n"
    assert sha256(store.get("a")).hexdigest() == sha256(b"1").hexdigest()


# what cannot be an object


READING = """
import sys
from pathlib import Path
from phimage.chunks.folder import FolderStore
from phimage.chunks.read import open_disk
from phimage.chunks.scrub import ScrubFinding, scrub

for root, digest in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    store = FolderStore(Path(root))
    print(*(found.kind for found in scrub(store, [digest], now=0) if isinstance(found, ScrubFinding)))
    try:
        list(open_disk(store, digest).chunks())
    except Exception as error:
        print(type(error).__name__)
"""


def read_in_a_process(disks: Iterable[tuple[Path, ManifestDigest]]) -> list[list[str]]:
    """For each disk what a scrub finds, and how a read fails. A hang, inside a system call of a thread, is killed."""
    words = [str(word) for disk in disks for word in disk]
    ended = subprocess.run([sys.executable, "-c", READING, *words], capture_output=True, text=True, timeout=60)
    lines = ended.stdout.splitlines()
    return [lines[at : at + 2] for at in range(0, len(lines), 2)]


def replace_by(kind: str, path: Path) -> None:
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound, chdir(path.parent):  # its own path is too long for a socket
            bound.bind(path.name)
    elif kind == "link":
        path.symlink_to(path.parent / "nowhere")
    else:
        path.touch()
        os.truncate(path, MAX_OBJECT_BYTES + 1)


def test_what_cannot_be_read_in_place_of_an_object_is_a_finding_and_an_error_at_once(tmp_path: Path) -> None:
    expected = {
        "huge file": [["unreadable", "BadChunk"], ["manifest", "StoreFailure"]],
        **{kind: [["missing", "BadChunk"], ["manifest", "BadManifest"]] for kind in ("fifo", "folder", "socket", "link")},
    }
    disks: list[tuple[Path, ManifestDigest]] = []
    for kind in expected:
        for what in ("chunk", "manifest"):
            root = tmp_path / kind / what
            root.parent.mkdir(exist_ok=True)
            store = FolderStore(root)
            written = publish(store)
            _, chunk = next(iter(written.manifest.stored()))
            name = chunk_name(chunk) if what == "chunk" else manifest_name(written.digest)
            replace_by(kind, root / name)
            assert (store.find(name) is None) == (kind != "huge file")
            disks.append((root, written.digest))

    found = read_in_a_process(disks)

    assert {kind: found[2 * place : 2 * place + 2] for place, kind in enumerate(expected)} == expected
