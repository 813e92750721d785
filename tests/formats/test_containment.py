"""T11: whatever a file says, nothing but that file is opened, nothing is reached, and it costs no more than a good one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.formats.cases import BAIT, CASES
from tests.formats.cases.case import write, write_all
from tests.formats.cases.costly import COSTLY
from tests.formats.make import MIB

ROOT = Path(__file__).parents[2]
CALLS = "openat,open,openat2,creat,execve,execveat,connect,truncate,unlink,rename,renameat2"
ALLOWED_TO_QEMU = re.compile(r'"(/proc/self/fd/\d+|/etc/ld\.so\.(cache|preload)|/(usr/)?lib(64)?/[^"]*)"')

BAITED = [case for case in CASES if BAIT in case.image()[:MIB]]
GOOD = [
    case for case in CASES if not case.refused and case.name in ("qcow2", "vmdk", "vhd, dynamic", "vhdx", "iso", "raw, MBR")
]


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


def test_our_reader_opens_no_other_file_and_starts_nothing(folder: Path) -> None:
    written = write_all(CASES, folder)
    for line, (case, _path) in zip(examine_all(folder, "--own"), written, strict=True):
        assert line["seen"] == [], case.name
        assert set(line["refused"]) == case.refused


@pytest.mark.parametrize("name", COSTLY)
def test_a_file_that_is_made_to_cost_is_bounded(name: str, folder: Path) -> None:
    write(COSTLY[name](), folder / "costly")
    [line] = examine_all(folder)
    assert line["cpu"] < 5
    assert line["memory"] < 200 * MIB


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_call_of_the_system_names_the_bait(folder: Path, tmp_path: Path) -> None:
    """Also not by qemu-img, which is started on the good ones among them."""
    assert len(BAITED) > 10
    write_all([*BAITED, *GOOD], folder)
    log = tmp_path / "calls"
    lines = examine_all(folder, before=("strace", "-f", "-s", "400", "-e", f"trace={CALLS}", "-o", str(log)))
    assert [bool(line["refused"]) for line in lines] == [True] * len(BAITED) + [False] * len(GOOD)
    calls = log.read_text("utf-8", "replace").splitlines()
    assert not [call for call in calls if "bait" in call]
    assert not [call for call in calls if "connect(" in call]

    started = [call for call in calls if re.search(r'execve\("[^"]*/qemu-img"', call)]
    assert len(started) == len(GOOD)
    assert all("driver=" in call and "file.driver=file,file.filename=/proc/self/fd/" in call for call in started)
    for call in started:
        process = call.split()[0]
        after = calls[calls.index(call) + 1 :]
        opened = [line for line in after if line.startswith(f"{process} ") and "open" in line]
        assert opened
        assert not [line for line in opened if "= -1 " not in line and not ALLOWED_TO_QEMU.search(line)]
