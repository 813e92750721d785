"""A restore drill: restores a backup to a temporary place, lists and downloads images from a server there, and removes all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import urllib3
from msgspec import Struct

from phimage.backup.create import Progress
from phimage.backup.place import BackupPlace
from phimage.backup.record import BackupFailed, BackupRecord
from phimage.backup.restore import restore
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.chunks.factory import open_store
from phimage.chunks.read import open_disk
from phimage.client import Client
from phimage.errors import SetupError
from phimage.installation import open_catalog, recover_operator_key
from phimage.model.image_bytes import ImageBytes
from phimage.settings import Settings, as_variables

STOP_SECONDS = 30
_PIECE = 1 << 20
_LISTENING = "listening on "


class Step(Struct, frozen=True):
    """A completed step of the drill, and its duration."""

    what: str
    seconds: float


class Drilled(Struct, frozen=True):
    """The result of `drill`. `findings` are the defects of the restored installation."""

    backup: str
    steps: tuple[Step, ...]
    findings: tuple[str, ...]


def drill(
    place: BackupPlace,
    record: BackupRecord,
    key: bytes,
    scratch: Path | None,
    *,
    progress: Progress = lambda phase, done, total: None,
    clock: Callable[[], float] = time.monotonic,
) -> Drilled:
    """Restore a backup to a new folder below `scratch`, use it, and remove it. Raises like `restore`."""
    steps: list[Step] = []

    @contextmanager
    def timed() -> Iterator[Callable[[str], None]]:
        begun = clock()
        yield lambda what: steps.append(Step(what, clock() - begun))

    try:
        folder = TemporaryDirectory(prefix="phimage-drill-", dir=scratch)
    except OSError as error:
        raise SetupError(f"cannot create a temporary folder: {error.strerror}; name a folder with --scratch") from None
    with timed() as removed:
        with folder as name:
            settings = Settings(data_dir=str(Path(name) / "data"), port=0, publishers=0, require_zone=False)
            with timed() as done:
                restored = restore(place, record, settings, key, progress=progress)
                images = restored.images
                done(f"restored {len(record.manifests)} disks in {images.chunks} chunks, and revision {record.revision}")
            findings = list(restored.findings)
            progress("serving", 0, None)
            with _served(settings) as client:
                with timed() as done:
                    done(_listed(client))
                with timed() as done:
                    done(_downloaded(client, settings, findings))
        removed(f"removed {name}; all together")
    return Drilled(record.name, tuple(steps), tuple(findings))


@contextmanager
def _served(settings: Settings) -> Iterator[Client]:
    """A server of a restored installation, and a client with a new key of its operator."""
    key = recover_operator_key(settings)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PHIMAGE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "phimage", "serve"],
        env={**variables, **as_variables(settings), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as server:
        assert server.stdout is not None
        try:
            line = next((line for line in server.stdout if line.startswith(_LISTENING)), None)
            if line is None:
                raise BackupFailed("the server of the restored installation ended before it answered: see its error above")
            with Client(line.removeprefix(_LISTENING).strip(), key.public, key.private) as client:
                yield client
        finally:
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def _listed(client: Client) -> str:
    """List the images of all regions."""
    regions = {region["Region"] for region in client.call("GetRegion").fields["Regions"]}
    responses = [client.call("DescribePHostImage", Region=region, Limit=1) for region in sorted(regions)]
    return f"listed {sum(response.fields['TotalCount'] for response in responses)} images in {len(responses)} regions"


def _downloaded(client: Client, settings: Settings, findings: list[str]) -> str:
    """Download a base image and compare its digest. Without base images, read a custom image from the store instead."""
    smallest = _smallest_image(settings)
    if smallest is None:
        return "no image has bytes to download"
    if smallest.project:
        pieces = open_disk(open_store(settings.store_place), smallest.manifest).chunks()
    else:
        pieces = _pieces(client.call("GetPHostImageDownloadUrl", ImageId=smallest.image).fields["RawUrl"])
    whole, size = sha256(), 0
    for piece in pieces:
        whole.update(piece)
        size += len(piece)
    if whole.hexdigest() != smallest.sha256:
        findings.append(f"{smallest.image}: {size} bytes with the SHA-256 {whole.hexdigest()}, not {smallest.sha256}")
    verb = "read" if smallest.project else "downloaded"
    return f"{verb} {smallest.image}, {size} bytes, and compared its SHA-256"


def _pieces(url: str) -> Iterator[bytes]:
    with urllib3.request("GET", url, preload_content=False, retries=False, timeout=60) as response:
        if response.status != 200:
            raise BackupFailed(f"the server of the restored installation answered a download with HTTP {response.status}")
        yield from response.stream(_PIECE)


def _smallest_image(settings: Settings) -> ImageBytes | None:
    """The smallest base image that has bytes, or else the smallest custom image."""
    catalog = open_catalog(settings)
    try:
        with catalog.database.read() as connection:
            stored = (record for record in IMAGE_BYTES.live(connection) if record.stored)
            return min(stored, key=lambda record: (record.project != "", record.size, record.image), default=None)
    finally:
        catalog.database.close()
