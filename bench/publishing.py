"""Publishing a disk: from the command to Available, in turn with tools that do a part of it, and with Glance.

Each publication begins with an empty store, because a second one of the same bytes costs little.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import urllib3
from tests import shared
from tests.contract import stores

from bench import disk, glance, processes, servers
from bench.figures import CACHE, Figures

ABOUT = (
    *("--type", "base", "--name", "bench", "--os-type", "Debian", "--os-name", "Debian 12"),
    *("--zone", "cn-bj2-02", "--support", "DB-2"),
)

Announce = Callable[[str], None]


def measure(figures: Figures, rounds: int, announce: Announce, *, with_raw: bool) -> None:
    """Rounds of everything; with `with_raw`, Glance's upload of the raw disk, which takes most of a minute, once."""
    files = disk.disks()
    figures.about = "Seconds"
    for number in range(rounds):
        with work_folder() as work:
            announce(f"publishing, round {number + 1}: floors")
            _floors(figures, files, work)
            try:
                with glance.glance(work / "glance") as url:
                    announce(f"publishing, round {number + 1}: Glance")
                    _upload(figures, url, files, with_raw=with_raw and not number)
            except glance.NotInstalled as error:
                figures.about = f"Seconds; Glance could not be installed: {error}"
            announce(f"publishing, round {number + 1}: phimage")
            for form, file in (("qcow2", files.qcow2), ("raw.zst", files.zst)):
                with servers.installation(work / form) as kept:
                    publish(figures, kept, file, f"publish {form}")
            with servers.installation(work / "raw") as kept:
                publish(figures, kept, files.raw, "publish raw")
                publish(figures, kept, files.changed, "publish raw, a twentieth changed")
            with s3_store() as variables, servers.installation(work / "s3", variables) as kept:
                publish(figures, kept, files.raw, "publish raw to S3")
                publish(figures, kept, files.qcow2, "publish qcow2 to S3")


def publish(figures: Figures, kept: servers.Installation, file: Path, name: str) -> str:
    """Publish a file and return the id of the image."""
    digest = _digest(file)
    publisher, received = processes.publisher(kept.process), _received(kept)
    used = processes.processor_seconds(kept.process)
    before = processes.ended_seconds()
    begun = time.perf_counter()
    with processes.peak(publisher) as peak:
        image = kept.command("image", "publish", str(file), "--digest", digest, *ABOUT).strip()
    figures.add(name, time.perf_counter() - begun)
    processor = processes.processor_seconds(kept.process) - used + processes.ended_seconds() - before
    figures.add(f"{name}: processor seconds", processor)
    figures.add(f"{name}: MB of the publisher at most", peak.megabytes)
    figures.add(f"{name}: MB sent", (_received(kept) - received) / 1e6)
    return image


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder on the disk of this project."""
    work = CACHE / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work)


@contextmanager
def s3_store() -> Iterator[Mapping[str, str]]:
    """The variables of a server that keeps its images in an S3 server of its own, SeaweedFS."""
    shared.begin()
    try:
        folder = shared.server("s3", stores.start)
        address = stores.S3Server((folder / stores.ENDPOINT).read_text(), "bench").new_address()
        yield {"PHIMAGE_STORE": address, **stores.KEYS}
    finally:
        shared.end()


@lru_cache
def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _floors(figures: Figures, files: disk.Disks, work: Path) -> None:
    out = work / "out"
    for name, command in {
        "openssl sha256 of the raw disk": ("openssl", "dgst", "-sha256", files.raw),
        "zstd -d of the raw.zst": ("zstd", "-q", "-d", "-f", "-c", files.zst),
        "zstd -3 of the raw disk": ("zstd", "-q", "-3", "-f", "-c", files.raw),
        "qemu-img convert qcow2 to raw": ("qemu-img", "convert", "-f", "qcow2", "-O", "raw", files.qcow2, out),
        "cp of the qcow2, and sync": ("sh", "-c", 'cp "$0" "$1" && sync "$1"', files.qcow2, out),
    }.items():
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figures.add(name, time.perf_counter() - begun)
        out.unlink(missing_ok=True)


def _upload(figures: Figures, url: str, files: disk.Disks, *, with_raw: bool) -> None:
    for form, file in (("qcow2", files.qcow2), *((("raw", files.raw),) if with_raw else ())):
        address = glance.new_image(url, form)
        options = [*glance.header_options(), "-H", "Content-Type: application/octet-stream", "-H", "Expect:"]
        begun = time.perf_counter()
        subprocess.run(["curl", "-sf", "-T", file, *options, address], check=True)
        figures.add(f"Glance: upload {form}", time.perf_counter() - begun)
        begun = time.perf_counter()
        subprocess.run(["curl", "-sf", "-o", "/dev/null", *glance.header_options(), address], check=True)
        figures.add(f"Glance: download {form}", time.perf_counter() - begun)


def _received(kept: servers.Installation) -> float:
    """Bytes of bodies that the server received."""
    time.sleep(1.1)  # counters are shared once a second
    text = urllib3.request("GET", f"{kept.url}/metrics", retries=False, timeout=60).data.decode()
    found = re.search(r"^phimage_received_bytes\S* (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])
