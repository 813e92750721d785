"""The memory of a publisher and of a server that sends, on data that does not compress."""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from phimage.chunks.frame import zstd
from tests.torture.installation import Installation, publish_command

MB = 1_000_000
MIB = 1 << 20

pytestmark = pytest.mark.more


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as found:
        found.start()
        yield found


def memory(pid: int, field: str) -> int:
    """Bytes of a process, by a field of its status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def noise(folder: Path, mebibytes: int) -> Path:
    """A raw disk without zeros, which chance makes."""
    path, chance = folder / "disk.raw", random.Random(1)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(chance.randbytes(MIB))
    return path


def packed(raw: Path) -> Path:
    path = raw.with_suffix(".zst")
    path.write_bytes(zstd.compress(raw.read_bytes(), 1))
    return path


def as_qcow2(raw: Path) -> Path:
    path = raw.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    return path


def publish(installation: Installation, file: Path) -> str:
    return installation.cli.well(*publish_command(str(file), file.name, "--override", "disk.unknown")).strip()


@pytest.mark.parametrize("make", [lambda raw: raw, packed, as_qcow2], ids=["raw", "zst", "qcow2"])
def test_a_publisher_takes_at_most_150_mb(installation: Installation, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    file = make(noise(tmp_path, 128))
    publisher = installation.publisher()
    assert publisher is not None

    publish(installation, file)

    assert publisher.alive()
    assert memory(publisher.pid, "VmHWM") <= 150 * MB


def test_eight_downloads_take_at_most_100_mb_above_an_idle_server(installation: Installation, tmp_path: Path) -> None:
    image = publish(installation, noise(tmp_path, 96))
    urls = installation.cli.json("image", "url", image)
    publisher = installation.publisher()
    assert installation.server is not None
    workers = [worker.pid for worker in installation.server.workers() if worker != publisher]
    for pid in workers:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # what was the most so far counts no longer
    idle = sum(memory(pid, "VmHWM") for pid in workers)
    got: list[int] = []

    def download(url: str) -> None:
        with urllib3.request("GET", url, preload_content=False, timeout=120) as response:
            got.append(sum(len(part) for part in response.stream(MIB)))

    for form in ("RawUrl", "ZstdUrl", "Qcow2Url"):
        clients = [threading.Thread(target=download, args=[urls[form]]) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    assert len(got) == 24
    assert min(got) >= 96 * MIB
    assert sum(memory(pid, "VmHWM") for pid in workers) - idle <= 100 * MB
