"""T11: whatever a file says, no other file is opened, nothing is reached, and it costs no more than a good one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from phimage.formats.table import KINDS
from tests.formats import qemu_images
from tests.formats.cases import CASES
from tests.formats.cases.case import write, write_all
from tests.formats.cases.costly import COSTLY
from tests.formats.make import MIB
from tests.formats.qemu_images import BAD

ROOT = Path(__file__).parents[2]
LOOPS = 550
"""Max CPU time for a file, in that of a loop: 5 s where it takes 9 ms."""
CALLS = "openat,open,openat2,creat,execve,execveat,connect,truncate,unlink,rename,renameat2"
ALLOWED_TO_QEMU = re.compile(r'"(/proc/self/fd/\d+|/etc/ld\.so\.(cache|preload)|/(usr/)?lib(64)?/[^"]*)"')


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def examine_all(folder: Path, *options: str, before: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    command = [*before, sys.executable, "-m", "tests.formats.examine_all", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.more
def test_our_reader_opens_no_other_file_and_starts_nothing(folder: Path) -> None:
    written = write_all(CASES, folder)
    for line, (case, _path) in zip(examine_all(folder, "--own"), written, strict=True):
        assert line["seen"] == [], case.name
        assert set(line["refused"]) == case.refused


@pytest.mark.more
@pytest.mark.parametrize("name", COSTLY)
def test_a_file_that_is_made_to_cost_is_bounded(name: str, folder: Path) -> None:
    write(COSTLY[name](), folder / "costly")
    [line] = examine_all(folder)
    assert line["loops"] < LOOPS
    assert line["memory"] < 200 * MIB


@pytest.mark.more
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_whole_corpus_opens_nothing_else_and_costs_little(folder: Path, tmp_path: Path) -> None:
    """Nor by qemu-img, which is started on files that our reader accepts, always with their format."""
    written = write_all(CASES, folder)
    expected = [not case.refused for case, _ in written] + [False] * len(BAD)
    _make_bad(tmp_path, folder)
    log = tmp_path / "calls"
    lines = examine_all(folder, before=("strace", "-f", "-s", "400", "-e", f"trace={CALLS}", "-o", str(log)))
    assert [not line["refused"] for line in lines] == expected
    assert max(line["loops"] for line in lines) < LOOPS
    assert max(line["memory"] for line in lines) < 200 * MIB

    calls = log.read_text("utf-8", "replace").splitlines()
    assert not [call for call in calls if re.search("bait|disk.raw|data.raw|base.vmdk|-flat|-s001|/dev/sd", call)]
    assert not [call for call in calls if "connect(" in call]
    started = [number for number, call in enumerate(calls) if re.search(r'execve\("[^"]*/qemu-img"', call)]
    asked = [line for line in lines if all(KINDS[id].override for id in line["refused"])]
    assert len(started) == len(asked) > 40
    for number in started:
        call, *after = calls[number:]
        assert re.search(r'"driver=\w+[^"]*,file.driver=file,file.filename=/proc/self/fd/\d+"', call)
        opened = [later for later in _of_process(call.split()[0], after) if "open" in later]
        assert opened
        assert not [later for later in opened if "= -1 " not in later and not ALLOWED_TO_QEMU.search(later)]
    programs = {match[1] for call in calls if (match := re.search(r'execve\("([^"]*)".* = 0$', call))}
    assert {Path(program).name for program in programs} == {Path(sys.executable).name, "qemu-img"}


def _of_process(process: str, calls: list[str]) -> Iterator[str]:
    """The calls of a process until it ends; its number may be given to another one then."""
    own = (call for call in calls if call.startswith(f"{process} "))
    return takewhile(lambda call: "+++ exited" not in call, own)


def _make_bad(work: Path, folder: Path) -> None:
    """What qemu-img makes that reaches outside, without what it reaches for."""
    (work / "disk.raw").write_bytes(qemu_images.disk())
    for number, (make, _id) in enumerate(BAD.values(), start=len(CASES)):
        make(work)
        (work / "bad").rename(folder / f"{number:03}")
