"""A sandboxed process that does not end, prints too much or dies."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

from phimage.errors import SetupError
from phimage.formats import sandbox, sandbox_child
from phimage.formats.errors import QemuFailed, QemuStopped
from tests.formats.processes import gone


def run(code: str, seconds: float = 60) -> bytes:
    return sandbox.run([sys.executable, "-I", "-S", "-c", code], files=(), seconds=seconds, name="it")


def test_what_it_writes_is_returned() -> None:
    assert run("print('hello')") == b"hello\n"


def test_it_has_no_input_no_environment_and_no_open_files() -> None:
    code = "import os, sys; print(sys.stdin.read(), sorted(os.environ), len(os.listdir('/proc/self/fd')) - 1)"
    assert run(code) in (b" [] 3\n", b" ['LC_CTYPE'] 3\n")


def test_its_last_line_tells_why_it_failed() -> None:
    with pytest.raises(QemuFailed, match=r"^it: the \?\[31mreason$"):
        run("import sys; sys.exit('first\\n\\nqemu-img: the \\x1b[31mreason\\n\\n')")


def test_it_is_killed_when_its_time_is_over() -> None:
    started = time.monotonic()
    with pytest.raises(QemuStopped, match="exceeded its time limit"):
        run("import time; time.sleep(600)", seconds=0.3)
    assert time.monotonic() - started < 60


def test_its_children_are_killed_with_it() -> None:
    code = """
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
time.sleep(600)
"""
    numbers: list[int] = []

    class Enough(Exception):
        pass

    def listen(output: bytes) -> None:
        if output.endswith(b"\n"):
            numbers.append(int(output))
            raise Enough

    with pytest.raises(Enough):
        sandbox.run([sys.executable, "-c", code], files=(), seconds=60, name="it", on_output=listen)
    assert gone(numbers[0])


def test_it_is_killed_when_its_time_is_over_although_it_says_nothing_more() -> None:
    with pytest.raises(QemuStopped, match="exceeded its time limit"):
        run("import os, time; os.close(1); os.close(2); time.sleep(70); os._exit(0)", seconds=0.3)


def test_what_it_leaves_behind_is_killed_when_it_ends() -> None:
    left = "import os, time; print(os.getpid(), flush=True); os.close(1); os.close(2); time.sleep(600)"
    code = f"import subprocess, sys; left = subprocess.Popen([sys.executable, '-c', {left!r}], stdout=subprocess.PIPE)"
    assert gone(int(run(f"{code}; print(left.stdout.readline().decode())"))), "it has open files of this program"


def test_it_is_stopped_when_it_prints_too_much() -> None:
    with pytest.raises(QemuStopped, match="printed more than"):
        run("while True: print('x' * 100000)")


def test_errors_without_end_are_cut() -> None:
    with pytest.raises(QemuFailed, match=r"^it: last$"):
        run("import sys; [sys.stderr.write('x' * 1000 + '\\n') for _ in range(5000)]; sys.exit('last')")


def test_a_program_that_cannot_be_started_is_an_error_of_the_installation() -> None:
    limits = {"memory": 1 << 29, "seconds": 5, "output": 0, "readable": [], "writable": []}
    bounds = limits | {"user": None, "group": None, "parent": os.getpid(), "required": False}
    command = [sys.executable, "-I", "-S", sandbox_child.__file__, json.dumps(bounds), "/nowhere/qemu-img"]
    with pytest.raises(SetupError, match=r"could not be started: .*/nowhere/qemu-img"):
        sandbox.run(command, files=(), seconds=60, name="qemu-img info")


def test_it_is_told_that_it_was_killed() -> None:
    with pytest.raises(QemuStopped, match="CPU seconds"):
        run("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)")
