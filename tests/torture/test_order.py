"""No response is sent before its facts are durable, as the kernel sees it (T1): by strace, from the first part to the last."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from phimage.chunks import uploads
from phimage.chunks.layout import chunk_name, manifest_name
from phimage.chunks.manifest import load_manifest
from phimage.model.ids import ImageId
from tests.publishing.shop import as_qcow2, disk, sha256_of
from tests.torture.installation import Installation, publish_command
from tests.torture.order import TRACED, check, read_calls

PART, CHUNK, MANIFEST = "/store/uploads/j/0000/part", "/store/chunks/ab/abc", "/store/manifests/cd/cde"
WAL = "/data/catalog.sqlite-wal"

RECORDING = f"""\
1 mkdir("/store/chunks/ab", 0700) = 0
1 fsync(3</store/chunks>) = 0
1 write(4</store/.tmp/1>, "part"..., 4) = 4
1 fsync(4</store/.tmp/1>) = 0
1 rename("/store/.tmp/1", "{PART}") = 0
1 fsync(5</store/uploads/j/0000>) = 0
1 sendto(9<socket:[1]>, "HTTP/1.1 201 Created\\r\\n\\r\\n{{\\"Part\\":0,\\"Size\\":4}}", 99, 0, NULL, 0) = 99
2 write(4</store/.tmp/2>, "chunk"..., 5) = 5
2 fsync(4</store/.tmp/2> <unfinished ...>
3 write(1</dev/null>, "", 0) = 0
2 <... fsync resumed>) = 0
2 rename("/store/.tmp/2", "{CHUNK}") = 0
2 fsync(5</store/chunks/ab>) = 0
2 write(4</store/.tmp/3>, "manifest"..., 8) = 8
2 fsync(4</store/.tmp/3>) = 0
2 rename("/store/.tmp/3", "{MANIFEST}") = 0
2 fsync(5</store/manifests/cd>) = 0
2 pwrite64(7<{WAL}>, "...cde...", 9, 0) = 9
2 fdatasync(7<{WAL}>) = 0
1 writev(9<socket:[1]>, [{{iov_base="HTTP/1.1 200 OK\\r\\n\\r\\n{{\\"State\\":\\"Done\\"}}", iov_len=99}}], 1) = 99
"""


def faults_of(recording: str) -> list[str]:
    return check(read_calls(recording), "/store", {MANIFEST: [CHUNK]}, "/data/catalog.sqlite", {0: PART})


def test_the_checker_takes_the_right_order() -> None:
    assert faults_of(RECORDING) == []


LINES = RECORDING.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("moved", "to", "fault"),
    [
        (1, 99, "the manifest was put before"),  # the new folder was not synced
        (3, 4, "part was renamed before it was synced"),
        (2, 3, "part was renamed before it was synced"),  # written again after the sync
        (5, 6, "part 0 was told as kept"),
        (7, 10, "abc was renamed before it was synced"),  # written while it was being synced
        (10, 11, "abc was renamed before it was synced"),
        (12, 15, "the manifest was put before"),
        (14, 15, "cde was renamed before it was synced"),
        (16, 17, "the catalogue named"),
        (18, 19, "told as done before"),
        (17, 99, "told as done before"),
    ],
)
def test_the_checker_tells_a_wrong_order(moved: int, to: int, fault: str) -> None:
    lines = list(LINES)
    line = lines.pop(moved)
    lines.insert(to, line)
    assert any(fault in told for told in faults_of("".join(lines))), (line, faults_of("".join(lines)))


@pytest.mark.parametrize("missing", [1, 3, 5, 12, 14, 16, 18])
def test_the_checker_tells_a_sync_that_is_missing(missing: int) -> None:
    assert "sync" in LINES[missing]
    assert faults_of("".join(line for line in LINES if line is not LINES[missing]))


BATCH = """\
2 write(4</store/.tmp/2>, "chunk"..., 5) = 5
2 syncfs(8</store>) = 0
2 rename("/store/.tmp/2", "{CHUNK}") = 0
2 syncfs(8</store>) = 0
""".replace("{CHUNK}", CHUNK)


def test_the_checker_takes_a_sync_of_the_file_system_for_one_of_each_file_and_folder() -> None:
    batched = "".join((*LINES[:7], BATCH, *LINES[13:]))
    assert faults_of(batched) == []
    first, second = batched.index("2 syncfs"), batched.rindex("2 syncfs")
    assert any("renamed before it was synced" in told for told in faults_of(batched[:first] + batched[first + 24 :]))
    assert any("the manifest was put before" in told for told in faults_of(batched[:second] + batched[second + 24 :]))


SENT, SEAL = "/store/uploads/j/chunks/abc", "/store/uploads/j/sealed"
BY_CHUNKS = f"""\
1 write(4</store/.tmp/1>, "frame"..., 5) = 5
1 fsync(4</store/.tmp/1>) = 0
1 rename("/store/.tmp/1", "{SENT}") = 0
1 fsync(5</store/uploads/j/chunks>) = 0
1 sendto(9<socket:[1]>, "HTTP/1.1 201 Created\\r\\n\\r\\n{{\\"Chunks\\":1}}", 99, 0, NULL, 0) = 99
1 write(4</store/.tmp/2>, "seal"..., 4) = 4
1 fsync(4</store/.tmp/2>) = 0
1 rename("/store/.tmp/2", "{SEAL}") = 0
1 fsync(5</store/uploads/j>) = 0
1 sendto(9<socket:[1]>, "HTTP/1.1 201 Created\\r\\n\\r\\n{{\\"Size\\":5,\\"Chunks\\":1}}", 99, 0, NULL, 0) = 99
"""


@pytest.mark.parametrize(
    ("moved", "to", "fault"), [(0, 0, ""), (4, 3, "1 chunks were told"), (9, 8, "told as sealed"), (4, 99, "told as kept")]
)
def test_the_checker_tells_chunks_that_are_acknowledged_too_early(moved: int, to: int, fault: str) -> None:
    lines = BY_CHUNKS.splitlines(keepends=True)
    line = lines.pop(moved)
    lines.insert(to, line if to < 99 else "")
    told = check(read_calls("".join(lines)), "/store", {}, "/data/catalog.sqlite", {}, [SENT], SEAL)
    assert bool(told) == bool(fault)
    assert not fault or fault in told[0]


@pytest.mark.parametrize("form", ["raw", "qcow2"])
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_is_told_before_it_is_durable(tmp_path: Path, form: str) -> None:
    """A raw disk is sent by chunks, every other file in parts."""
    log = tmp_path / "log"
    raw = disk(tmp_path, mebibytes=80)
    file = raw if form == "raw" else as_qcow2(raw)
    with Installation(tmp_path) as installation:
        installation.start(under=("strace", "-f", "-qq", "-y", "-s", "8192", "-o", str(log), "-e", f"trace={TRACED}"))
        image = ImageId(installation.cli.well(*publish_command(str(file), "traced")).strip())
        content = installation.contents()[image]
        assert content.sha256 == sha256_of(raw)
        installation.end_traced()

        digest, root = content.manifest, installation.data / "store"
        chunks = [str(root / chunk_name(chunk)) for _, chunk in load_manifest(installation.store, digest).stored()]
    calls = read_calls(log.read_text("utf-8", "replace"))
    put = [call.paths[1] for call in calls if call.name == "rename" and call.paths[1].startswith(f"{root}/uploads/")]
    sent = [path for path in put if "/chunks/" in path]
    seal = next((path for path in put if path.endswith("/sealed")), "")
    parts = {} if seal else {int(Path(path).name.partition("-")[0]): path for path in put}
    assert (len(sent), bool(seal)) == ((len(chunks), True) if form == "raw" else (0, False))
    assert len(parts) == (0 if form == "raw" else -(-file.stat().st_size // uploads.PART)) != 1
    assert len(chunks) == 41
    manifests = {str(root / manifest_name(digest)): chunks}
    assert check(calls, str(root), manifests, str(installation.data / "catalog.sqlite"), parts, sent, seal) == []
