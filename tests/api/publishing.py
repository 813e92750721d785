"""A gateway with a publisher beside it that works when a test says so, and small real disks to publish.

The places and accounts are those of `small`. The operator's key here is its main user's, who has a project of its own.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from phimage.application import open_pipeline
from phimage.catalog import jobs
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.views import Catalog
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.installation import open_catalog, recover_operator_key
from phimage.model.ids import ImageId
from phimage.model.image_bytes import ImageBytes
from phimage.model.job import Job
from phimage.publishing.worker import Worker
from phimage.settings import Settings
from tests.api.gateway import Gateway, Reply, running
from tests.api.signer import Pair
from tests.delivering import Answered
from tests.publishing.shop import disk, sha256_of

ABOUT: dict[str, Any] = {
    "ImageType": "Base",
    "Name": "Debian 12",
    "OsType": "Debian",
    "OsName": "Debian 12 64bit",
    "Zone": ["north-a"],
    "Support": ["Both"],
}
"""What a publication says of its image."""
NORTH_A = {"Region": "north", "Zone": "north-a"}


class Shop:
    """A gateway, the operator's key, and a publisher by hand."""

    def __init__(self, gateway: Gateway, settings: Settings, operator: Pair, catalog: Catalog, store: Store) -> None:
        self.gateway = gateway
        self.settings = settings
        self.operator = operator
        self.catalog = catalog
        self.store = store
        self._stop = threading.Event()
        self._worker = Worker(catalog, store, open_pipeline(settings, store), "by hand", self._stop)

    def ask(self, action: str, params: dict[str, Any] | None = None, pair: Pair | None = None) -> Reply:
        """The answer to a request, of the operator unless it is another's."""
        return self.gateway.ask(action, params, pair=pair or self.operator)

    def well(self, action: str, params: dict[str, Any] | None = None, pair: Pair | None = None) -> dict[str, Any]:
        """The answer to a request that must go well."""
        fields = self.ask(action, params, pair).fields
        assert fields["RetCode"] == 0, fields
        return fields

    def send(self, url: str, data: bytes) -> None:
        """The only part of an upload."""
        sent = self.put(url, data)
        assert sent.status == 201, sent

    def put(self, url: str, data: bytes) -> Answered:
        """The answer to the first part of an upload."""
        address, _, ticket = url.partition("?")
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
        return self.gateway.fetch("PUT", f"{address}/0?{ticket}", [("Content-Digest", digest)], data)

    def begin(self, file: Path, pair: Pair | None = None, /, **more: Any) -> str:
        """An image whose original is uploaded and complete: a publisher has to do the rest."""
        data = file.read_bytes()
        known = {} if "TrustFirstUse" in more else {"Digest": f"sha256:{sha256_of(file)}"}
        begun = self.well("PublishPHostImage", {**ABOUT, "Size": len(data), **known, **more}, pair)
        self.send(begun["UploadUrl"], data)
        whose = {"ProjectId": more["ProjectId"]} if "ProjectId" in more else {}
        self.well("CompletePHostImageUpload", {"ImageId": begun["ImageId"], "Size": len(data), **whose}, pair)
        return str(begun["ImageId"])

    def publish(self, file: Path, pair: Pair | None = None, /, **more: Any) -> str:
        """An image that has its bytes."""
        image = self.begin(file, pair, **more)
        assert self.work(image)["State"] == "Done"
        return image

    def work(self, image: str) -> dict[str, Any]:
        """Let the publisher do the next job, which is that of an image. Returns how it ended."""
        self.finish(self.claim(image))
        return self.well("GetPHostImageJob", {"ImageId": image})

    def claim(self, image: str) -> Job:
        """The next job, which is that of an image: the publisher has it from now on."""
        claimed = jobs.claim(self.catalog.database, "by hand", time.time())
        assert claimed is not None
        assert claimed.image == image
        return claimed

    def finish(self, job: Job) -> None:
        """Let the publisher do a job that it has. The gateway has not learned of it yet."""
        self._worker.work(job)

    def content(self, image: str) -> ImageBytes | None:
        """What is known of an image's bytes."""
        with self.catalog.database.read() as connection:
            return IMAGE_BYTES.find(connection, ImageId(image))


@contextmanager
def shop_on(settings: Settings, *, alone: bool = True) -> Iterator[Shop]:
    """A shop on a data folder, of its own if it is alone."""
    key = recover_operator_key(settings)
    catalog = open_catalog(settings)
    try:
        with running(settings, alone=alone) as gateway:
            yield Shop(gateway, settings, Pair(key.public, key.private.reveal()), catalog, open_store(settings.store_place))
    finally:
        catalog.database.close()


__all__ = ["ABOUT", "NORTH_A", "Shop", "disk", "sha256_of", "shop_on"]
