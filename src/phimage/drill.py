"""A drill: a backup is restored to a temporary place, a server lists its images and sends one, and all of it is removed."""

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
    """Something that the drill did, and how long it took."""

    what: str
    seconds: float


class Drilled(Struct, frozen=True):
    """What the drill did, and what was not as it should be."""

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
    """Restore a backup to a new folder below `scratch`, use it, and remove it. Raises what `restore` raises."""
    steps: list[Step] = []

    @contextmanager
    def timed() -> Iterator[Callable[[str], None]]:
        begun = clock()
        yield lambda what: steps.append(Step(what, clock() - begun))

    try:
        folder = TemporaryDirectory(prefix="phimage-drill-", dir=scratch)
    except OSError as error:
        raise SetupError(f"no temporary folder can be made: {error.strerror}; name one with --scratch") from None
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
            said = next((line for line in server.stdout if line.startswith(_LISTENING)), None)
            if said is None:
                raise BackupFailed("the server of the restored installation ended before it answered")
            with Client(said.removeprefix(_LISTENING).strip(), key.public, key.private) as client:
                yield client
        finally:
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()


def _listed(client: Client) -> str:
    """Ask for the list of every region."""
    regions = {region["Region"] for region in client.call("GetRegion").fields["Regions"]}
    answers = [client.call("DescribePHostImage", Region=region, Limit=1) for region in sorted(regions)]
    return f"listed {sum(answer.fields['TotalCount'] for answer in answers)} images in {len(answers)} regions"


def _downloaded(client: Client, settings: Settings, findings: list[str]) -> str:
    """Read an image and compare its digest: a base image over HTTP; one of a project from the store, where no base image is."""
    content = _smallest_image(settings)
    if content is None:
        return "no image has bytes to download"
    if content.project:
        pieces = open_disk(open_store(settings.store_place), content.manifest).chunks()
    else:
        pieces = _pieces(client.call("GetPHostImageDownloadUrl", ImageId=content.image).fields["RawUrl"])
    whole, size = sha256(), 0
    for piece in pieces:
        whole.update(piece)
        size += len(piece)
    if whole.hexdigest() != content.sha256:
        findings.append(f"{content.image}: {size} bytes with the SHA-256 {whole.hexdigest()}, not {content.sha256}")
    verb = "read" if content.project else "downloaded"
    return f"{verb} {content.image}, {size} bytes, and compared its SHA-256"


def _pieces(url: str) -> Iterator[bytes]:
    with urllib3.request("GET", url, preload_content=False, retries=False, timeout=60) as answer:
        if answer.status != 200:
            raise BackupFailed(f"the server of the restored installation answered a download with HTTP {answer.status}")
        yield from answer.stream(_PIECE)


def _smallest_image(settings: Settings) -> ImageBytes | None:
    """The smallest base image that has bytes; of a project when no base image has any."""
    catalog = open_catalog(settings)
    try:
        with catalog.database.read() as connection:
            stored = (content for content in IMAGE_BYTES.live(connection) if content.stored)
            return min(stored, key=lambda content: (content.project != "", content.size, content.image), default=None)
    finally:
        catalog.database.close()
