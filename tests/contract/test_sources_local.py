"""Files, devices, pipes and standard input return their bytes, or an error with a reason."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from phimage.sources.errors import SourceChanged, SourceError, SourceInterrupted
from phimage.sources.source import ImageSource, LocalFile, PipeSource, SourceReader, open_source

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "disk.img"
    found.write_bytes(CONTENT)
    os.utime(found, (1_700_000_000, 1_700_000_000))  # what changes it now has another time, however coarse the clock of files
    return found


@contextmanager
def piped(content: bytes) -> Iterator[BinaryIO]:
    """The reading end of a pipe, which is written to meanwhile. All of it must be read."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reading, "rb") as pipe:
        yield pipe
        thread.join()


def read_all(reader: SourceReader, size: int) -> bytes:
    return b"".join(iter(lambda: reader.read(size), b""))


@pytest.mark.parametrize("size", [1000, 65_536, 10**7])
@pytest.mark.parametrize("offset", [0, 1, 300_000, len(CONTENT) - 1, len(CONTENT)])
def test_a_file_is_read_from_any_place_as_often_as_wanted(path: Path, offset: int, size: int) -> None:
    source: ImageSource = open_source(str(path))
    assert (source.name, source.size, source.repeatable) == ("disk.img", len(CONTENT), True)
    for _ in range(2):
        with source.open(offset) as reader:
            assert read_all(reader, size) == CONTENT[offset:]
            assert reader.read(size) == b""


@pytest.mark.parametrize("size", [1000, 100_000, 10**7])
@pytest.mark.parametrize("offset", [0, 1, 300_000, len(CONTENT)])
def test_a_pipe_is_read_once_from_any_place_on_in_full_pieces(offset: int, size: int) -> None:
    with piped(CONTENT) as pipe:
        source: ImageSource = PipeSource(pipe)
        assert (source.name, source.size, source.version, source.repeatable) == ("-", None, "", False)
        with source.open(offset) as reader:
            first = reader.read(size)
            assert len(first) == min(size, len(CONTENT) - offset)
            assert first + read_all(reader, size) == CONTENT[offset:]


def test_a_pipe_goes_on_where_it_was_and_never_back() -> None:
    stream = PipeSource(io.BytesIO(CONTENT))
    assert stream.open().read(1000) == CONTENT[:1000]
    assert stream.open(1000).read(10) == CONTENT[1000:1010]
    assert stream.open(5000).read(10) == CONTENT[5000:5010]
    with pytest.raises(SourceError, match="standard input: it can be read only once"):
        stream.open(0)


def test_a_pipe_that_is_shorter_than_last_time_is_told() -> None:
    with pytest.raises(SourceChanged, match=r"it ends before byte 2000, where the upload stopped last time .*at byte 1000"):
        PipeSource(io.BytesIO(CONTENT[:1000])).open(2000)


def test_standard_input_is_named_by_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    source = open_source("-")
    assert source.name == "-"
    assert source.open().read(10) == CONTENT[:10]


def test_a_pipe_with_a_path_is_a_pipe() -> None:
    with piped(CONTENT) as pipe:
        source = open_source(f"/dev/fd/{pipe.fileno()}")
        assert not source.repeatable
        assert read_all(source.open(), 100_000) == CONTENT


def changed_meanwhile(path: Path, how: str) -> None:
    if how == "grown":
        with path.open("ab") as file:
            file.write(b"x")
    elif how == "shrunk":
        os.truncate(path, 1000)
    elif how == "rewritten":
        with path.open("r+b") as file:
            file.write(b"x")
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
        path.write_bytes(CONTENT[::-1])


@pytest.mark.parametrize("how", ["grown", "shrunk", "rewritten"])
def test_a_file_that_changes_while_it_is_read_is_told_at_its_end(path: Path, how: str) -> None:
    with LocalFile(path).open() as reader:
        reader.read(100)
        changed_meanwhile(path, how)
        with pytest.raises(SourceChanged, match="it was changed while it was read"):
            read_all(reader, 100_000)


@pytest.mark.parametrize("how", ["grown", "shrunk", "rewritten", "replaced"])
def test_a_file_that_changed_is_not_opened_again(path: Path, how: str) -> None:
    source = LocalFile(path)
    before = source.version
    changed_meanwhile(path, how)
    with pytest.raises(SourceChanged):
        source.open(500)
    assert LocalFile(path).version != before


def test_the_version_stays_while_the_file_does(path: Path) -> None:
    assert LocalFile(path).version == LocalFile(path).version != ""


def test_a_link_is_followed_and_keeps_its_name(path: Path) -> None:
    link = path.with_name("link.img")
    link.symlink_to(path)
    assert open_source(str(link)).name == "link.img"
    assert LocalFile(path, "told.img").name == "told.img"


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        open_source(str(tmp_path / "absent"))
    with pytest.raises(SourceError, match="it is a folder; give the image file in it"):
        open_source(str(tmp_path))


class Failing(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


def test_an_error_of_the_disk_is_told_with_its_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceInterrupted, match=r"Input/output error \(at byte 0\)"):
        PipeSource(Failing()).open().read(10)


def test_a_pipe_that_gives_little_at_a_time_fills_what_was_asked_for() -> None:
    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 7))

    assert PipeSource(Dripping(CONTENT)).open().read(1000) == CONTENT[:1000]


def test_a_sparse_file_keeps_its_size(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(10**10)
    assert LocalFile(path).size == 10**10
    with LocalFile(path).open(10**10 - 5) as reader:
        assert reader.read(100) == bytes(5)
