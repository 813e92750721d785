"""A program in the sandbox can read the one file, write the other, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage.formats import sandbox_child
from tests.formats.make import MIB

ROOT = os.geteuid() == 0
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or str(Path(sys.executable).resolve())
LANDLOCK = sandbox_child.libc.syscall(sandbox_child.CREATE_RULESET, None, 0, sandbox_child.VERSION) >= 1
BOUNDS = {
    "memory": 512 * MIB,
    "seconds": 60,
    "output": 4096,
    "user": None,
    "group": None,
    "parent": os.getpid(),
    "required": False,
}

TRY = """
import ctypes, json, os, resource, socket, sys
def tried(what):
    try:
        return what() or True
    except (OSError, MemoryError) as error:
        return type(error).__name__
given, taken, secret = sys.argv[1:]
print(json.dumps({
    "read": tried(lambda: open(given).read()),
    "write": tried(lambda: open(taken, "r+").write("x" * 100)),
    "write too much": tried(lambda: open(taken, "r+b", buffering=0).write(b"x" * 5000)),
    "overwrite": tried(lambda: open(given, "r+").write("x")),
    "secret": tried(lambda: open(secret).read()),
    "passwd": tried(lambda: open("/etc/passwd").read()),
    "list": tried(lambda: os.listdir("/")),
    "create": tried(lambda: open("/tmp/phimage-escaped", "w")),
    "memory": tried(lambda: len(bytearray(1 << 30))),
    "socket": tried(lambda: socket.socket().close()),
    "unix socket": tried(lambda: socket.socket(socket.AF_UNIX).close()),
    "io_uring": ctypes.CDLL(None).syscall(425, 1, None),
    "environment": dict(os.environ),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "user": os.geteuid(),
}))
"""


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[int, int, Path]]:
    (tmp_path / "given").write_text("the image")
    (tmp_path / "secret").write_text("of another tenant")
    given = os.open(tmp_path / "given", os.O_RDONLY)
    taken = os.open(tmp_path / "taken", os.O_RDWR | os.O_CREAT, 0o600)
    yield given, taken, tmp_path / "secret"
    os.close(given)
    os.close(taken)


def tried(files: tuple[int, int, Path], **changes: object) -> dict[str, object]:
    given, taken, secret = files
    bounds = BOUNDS | {"readable": [given], "writable": [taken]} | changes
    program = [PYTHON, "-I", "-S", "-c", TRY]
    command = [sys.executable, "-I", "-S", sandbox_child.__file__, json.dumps(bounds), *program]
    names = [f"/proc/self/fd/{given}", f"/proc/self/fd/{taken}", str(secret)]
    done = subprocess.run([*command, *names], capture_output=True, text=True, pass_fds=(given, taken), check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_program_in_the_sandbox_reads_its_image_and_writes_its_output(files: tuple[int, int, Path]) -> None:
    answer = tried(files)
    assert answer["read"] == "the image"
    assert answer["write"] == 100


@pytest.mark.skipif(not LANDLOCK, reason="the kernel has no Landlock")
def test_a_program_in_the_sandbox_opens_nothing_else(files: tuple[int, int, Path]) -> None:
    answer = tried(files)
    for what in ("secret", "passwd", "list", "create", "overwrite"):
        assert answer[what] == "PermissionError", what
    assert not Path("/tmp/phimage-escaped").exists()


def test_a_program_in_the_sandbox_has_limits(files: tuple[int, int, Path]) -> None:
    answer = tried(files)
    assert answer["write too much"] in (4096, "OSError")
    assert answer["memory"] == "MemoryError"
    assert answer["core"] == [0, 0]
    assert answer["environment"] in ({}, {"LC_CTYPE": "C.UTF-8"})
    assert os.fstat(files[1]).st_size <= 4096


@pytest.mark.skipif(os.uname().machine not in sandbox_child.ARCHITECTURES, reason="there is no filter for this machine")
def test_a_program_in_the_sandbox_makes_no_socket(files: tuple[int, int, Path]) -> None:
    answer = tried(files)
    assert (answer["socket"], answer["unix socket"], answer["io_uring"]) == ("PermissionError", "PermissionError", -1)


@pytest.mark.skipif(not ROOT, reason="only root may always leave the network")
def test_a_process_that_left_the_network_has_no_interface_but_loopback() -> None:
    code = f"import socket, sys; sys.path[:0] = [{str(Path(sandbox_child.__file__).parent)!r}]; import sandbox_child"
    code += "; print([sandbox_child.leave_network(), *(name for _, name in socket.if_nameindex())])"
    assert subprocess.check_output([sys.executable, "-I", "-S", "-c", code], text=True) == "['', 'lo']\n"


@pytest.mark.skipif(not ROOT or not PYTHON.startswith("/usr/"), reason="only root can become another user, who needs a Python")
def test_a_program_in_the_sandbox_is_another_user_where_one_is_given(files: tuple[int, int, Path]) -> None:
    os.fchmod(files[0], 0o644)
    os.fchown(files[1], 65534, 65534)
    answer = tried(files, user=65534, group=65534)
    assert answer["user"] == 65534
    assert answer["read"] == "the image"
    assert answer["write"] == 100


def test_a_program_whose_parent_died_before_it_began_never_begins() -> None:
    bounds = BOUNDS | {"readable": [], "writable": [], "parent": 1}
    done = subprocess.run(
        [sys.executable, "-I", "-S", sandbox_child.__file__, json.dumps(bounds), "/bin/echo", "began"],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")
