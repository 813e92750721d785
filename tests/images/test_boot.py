"""The Debian disk is no dummy: a machine boots it, after it was in the store."""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from tests.images.debian import debian_disk
from tests.images.rooms import publish

SECONDS = 900
"""An emulated machine takes one minute when it has a core for itself."""


@pytest.mark.torture
@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="on Debian: apt-get install qemu-system-x86")
def test_a_machine_boots_the_disk_that_comes_back_from_the_store(tmp_path: Path) -> None:
    store, back = MemoryStore(), tmp_path / "back.raw"
    digest = publish(debian_disk(), store, tmp_path).written.digest
    with back.open("wb") as file:
        for chunk in open_disk(store, digest).chunks():
            file.write(chunk)
    said = boot(back, b"login: ")
    assert b"Debian GNU/Linux 12" in said, said[-2000:].decode("utf-8", "replace")
    assert b"login: " in said, said[-2000:].decode("utf-8", "replace")
    back.unlink()


def boot(disk: Path, until: bytes) -> bytes:
    """What an emulated machine without a network says on its serial line, until it says something or nothing more."""
    machine = ["-accel", "tcg", "-m", "512", "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio"]
    drive = ["-drive", f"file={disk},format=raw,if=virtio"]
    with (
        subprocess.Popen(
            ["qemu-system-x86_64", *machine, *drive], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout
        selector.register(process.stdout, selectors.EVENT_READ)
        said, ends = b"", time.monotonic() + SECONDS
        while until not in said and selector.select(max(0, ends - time.monotonic())):
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            said += piece
        process.kill()
    return said
