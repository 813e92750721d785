"""A host is captured, gets packages, and is captured again: the second capture sends what has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from phimage.agent.block_device import BlockDevice
from phimage.agent.capture import capture_to_server
from phimage.agent.captured_disk import CapturedDisk
from phimage.agent.upload_requests import UploadRequests
from phimage.chunk_upload import CHUNK, SentDisk
from phimage.chunks.folder import FolderStore
from phimage.chunks.frame import pack
from phimage.chunks.uploaded_chunks import ChunkSource, find_seal
from phimage.chunks.write import DiskWriter
from phimage.http_client import ApiConnections
from phimage.model.ids import ManifestDigest
from phimage.uploads.app import Uploads
from tests.images.debian import START, debian_disk
from tests.images.kept import run
from tests.loop_devices import loop_device
from tests.uploading import JOB, TICKET, FakeAuthorizer, caller, request_id, served

PACKAGES = ["less", "strace", "vim-tiny"]


@pytest.mark.torture
def test_a_second_capture_after_installing_packages_sends_their_chunks(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    run("cp", "--sparse=always", debian_disk(), disk)
    disk.chmod(0o600)
    store, authorizer = FolderStore(tmp_path / "store"), FakeAuthorizer()
    with served(Uploads(store, authorizer, caller, request_id)) as url:
        first = capture(disk, f"{url}?{TICKET}")
        before = chunks(disk)
        authorizer.images = [published(store)]
        install(disk, tmp_path)
        second = capture(disk, f"{url.replace(JOB, 'job-second2222')}?{TICKET}")
    changed = chunks(disk) - before
    frames = sum(len(pack(raw)) for raw in read(disk) if sha256(raw).digest() in changed)
    assert second.chunks > first.chunks > 200
    assert second.sent <= 1.2 * frames
    assert second.sent <= 0.25 * first.sent


def capture(disk: Path, url: str) -> SentDisk:
    """Capture a disk as a block device."""
    with (
        loop_device(disk, read_only=True) as path,
        BlockDevice(path, writable=False) as device,
        UploadRequests(lambda _: url, ApiConnections(60), patience=60) as upload,
    ):
        return capture_to_server(CapturedDisk(device), upload, lambda _: None)


def published(store: FolderStore) -> ManifestDigest:
    """The first capture as an image."""
    sealed = find_seal(store, JOB)
    assert sealed is not None
    with DiskWriter(store, sealed.size) as writer:
        for piece in ChunkSource(store, JOB, sealed).chunks():
            if isinstance(piece, int):
                writer.zeros(piece)
            else:
                writer.chunk(piece[0], piece[1].digest, piece[1].frame)
        return writer.finish({}).digest


def install(disk: Path, folder: Path) -> None:
    """Install packages on a disk as an administrator would, and use it a little."""
    archives = folder / "archives"
    (archives / "partial").mkdir(parents=True)
    with mounted(disk, folder / "mounted") as root:
        options = [f"Dir::State::status={root}/var/lib/dpkg/status", f"Dir::Cache::archives={archives}", "Debug::NoLocking=1"]
        words = [word for option in options for word in ("-o", option)]
        run("apt-get", "install", "-q", "-y", "--no-install-recommends", "--download-only", *words, *PACKAGES)
        shutil.copytree(archives, root / "archives")
        run("chroot", root, "sh", "-c", "dpkg --force-unsafe-io -i /archives/*.deb && rm -r /archives")
        (root / "var/log/application.log").write_text("".join(f"line {number}\n" for number in range(100_000)))
        (root / "etc/hostname").write_text("changed\n")


@contextmanager
def mounted(disk: Path, place: Path) -> Iterator[Path]:
    """The root file system of a disk, mounted."""
    if os.geteuid() != 0:
        pytest.skip("file systems are mounted by root")
    place.mkdir()
    with partition_device(disk) as device:
        subprocess.run(["mount", "-o", "noatime", device, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
    place.rmdir()


@contextmanager
def partition_device(disk: Path) -> Iterator[str]:
    """The first partition as a loop device of its own: the kernel need not read the partition table."""
    made = subprocess.run(["losetup", "-f", "--show", "-o", str(START), disk], capture_output=True, text=True, check=True)
    device = made.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def read(disk: Path) -> Iterator[bytes]:
    with disk.open("rb") as file:
        while raw := file.read(CHUNK):
            yield raw


def chunks(disk: Path) -> set[bytes]:
    return {sha256(raw).digest() for raw in read(disk) if any(raw)}
