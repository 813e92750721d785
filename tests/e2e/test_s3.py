"""A server, its publisher and the commands of care on a real S3: a disk from its file to the download, and a lost chunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from phimage.chunks.factory import bucket_address
from phimage.chunks.object_store import S3Store
from phimage.chunks.store import Store
from tests.contract.stores import CREDENTIALS, S3Server
from tests.e2e.conftest import in_s3, starter
from tests.e2e.process import DESCRIBED, Phimage, Server, wait_until
from tests.e2e.test_health import measures
from tests.publishing.shop import disk, sha256_of

pytestmark = pytest.mark.more

SECONDS = 120


class OnS3(NamedTuple):
    """An installation whose bytes are in S3, the command line with its operator's key, and the store itself."""

    url: str
    phimage: Phimage
    store: Store


@pytest.fixture
def on_s3(s3: S3Server, database_url: str, tmp_path: Path) -> Iterator[OnS3]:
    """On SQLite, and as a cloud has it on PostgreSQL."""
    store = in_s3(s3)
    places = {"PHIMAGE_DATABASE": database_url, "PHIMAGE_DATA_DIR": "data", **store}
    home = Phimage(tmp_path / "home", PHIMAGE_PUBLISHERS="1", **places)
    with Server(home, "serve", "--port", "0") as server:
        assert server.new_key is not None
        phimage = home.using(server.url, server.new_key)
        phimage.well("catalog", "apply", "-", text=starter())
        yield OnS3(server.url, phimage, S3Store(bucket_address(store["PHIMAGE_STORE"]), CREDENTIALS))
        assert CREDENTIALS.secret_key not in server.errors


def test_a_disk_is_published_downloaded_verified_and_collected_on_s3(on_s3: OnS3, tmp_path: Path) -> None:
    raw = disk(tmp_path, mebibytes=20, seed=3)
    digest = sha256_of(raw)
    image = on_s3.phimage.well("image", "publish", str(raw), "--digest", f"sha256:{digest}", *DESCRIBED).strip()
    assert not list(on_s3.store.list("uploads"))
    wait_until(lambda: measures(on_s3.url).get('phimage_jobs_ended_total{outcome="done"}') == 1, SECONDS)
    told = measures(on_s3.url)
    assert told["phimage_publishers"] == 1
    assert told['phimage_store_sent_bytes_total{operation="put"}'] > 0

    url = on_s3.phimage.json("image", "url", image)["RawUrl"]
    whole = requests.get(url, timeout=SECONDS)
    assert sha256(whole.content).hexdigest() == digest
    assert on_s3.phimage.json("image", "verify", "--all")["FindingSet"] == []

    [lost, *_] = list(on_s3.store.list("chunks"))
    on_s3.store.delete(lost.name)
    verified = on_s3.phimage.run("image", "verify", image)
    assert verified.code == 1
    assert lost.name.rpartition("/")[2] in verified.out
    zstd = on_s3.phimage.json("image", "url", image)["ZstdUrl"]
    with suppress(requests.exceptions.ChunkedEncodingError):  # cut off at the chunk
        refused = requests.get(zstd, timeout=SECONDS)  # it was in the first piece
        assert (refused.status_code, refused.json()["Chunk"]) == (500, lost.name.rpartition("/")[2])

    on_s3.phimage.well("image", "publish", str(raw), "--digest", f"sha256:{digest}", "--version", "2", *DESCRIBED)
    assert on_s3.phimage.json("image", "verify", "--all")["FindingSet"] == []

    on_s3.phimage.well("image", "rm", "--withdraw", "--yes", image)
    assert on_s3.phimage.json("store", "gc", "--grace", "1h")["Store"]["RemovedChunks"] == 0  # another image needs them
