"""A host is captured, gets packages, and is captured again: the second capture sends what has changed."""

from __future__ import annotations

from collections.abc import Iterator
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
from tests.deploying import loop_device, needs_loop_devices
from tests.images.debian import debian_disk
from tests.images.kept import run
from tests.images.mounted import install_packages
from tests.uploading import JOB, TICKET, FakeAuthorizer, caller, request_id, served


@needs_loop_devices
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
        install_packages(disk, tmp_path)
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


def read(disk: Path) -> Iterator[bytes]:
    with disk.open("rb") as file:
        while raw := file.read(CHUNK):
            yield raw


def chunks(disk: Path) -> set[bytes]:
    return {sha256(raw).digest() for raw in read(disk) if any(raw)}
