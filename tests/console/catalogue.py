"""The catalogue that the console is shown with: the demonstration, and what a real installation has besides it."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from pathlib import Path

from msgspec.structs import replace
from sqlalchemy import text

from phimage import demo, demo_disk
from phimage.application import open_pipeline
from phimage.catalog import jobs
from phimage.catalog.accounts import NewKey
from phimage.catalog.image_bytes import QUOTAS, expect_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Author
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.factory import open_store
from phimage.event_log import warnings_only
from phimage.installation import open_catalog
from phimage.maintenance.measuring import measure_store
from phimage.model.ids import AccountId, ImageId, JobId, ProjectId, new_job_id
from phimage.model.image import Image, State
from phimage.model.image_bytes import Quota
from phimage.model.job import Origin, new_job
from phimage.publishing.worker import Worker
from phimage.settings import Settings
from tests.console.host_rows import add_stopped_host

DEMO_KEY = NewKey(demo.PUBLIC_KEY, demo.PRIVATE_KEY)
"""The key of the demonstration's tenant."""
OPERATOR_ACCOUNT = AccountId("operator")
DEMO_ACCOUNT = demo.ACCOUNT
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}"
"""A text that must stay a text wherever a page shows it."""
DAYS = 24
"""Over so many days the revisions are spread."""


def fill(folder: Path, *, inert: bool = True) -> tuple[Settings, NewKey]:
    """A data folder with the demonstration, further disks, a failed and a running publication; and the operator's key.

    `inert`: with markup wherever a person can write it.
    """
    settings = Settings(data_dir=str(folder))
    demo.claim(folder)
    key = demo.fill(settings, has_operator_key=False)
    assert key is not None
    catalog = open_catalog(settings)
    try:
        images = _images(catalog)
        disk = demo_disk.make_disk()
        _publish(settings, catalog, images["mysql-primary"], disk[: 6 << 20] + random.Random(1).randbytes(2 << 20))
        _publish(settings, catalog, images["kernel-lab"], disk)
        _publish(settings, catalog, images["Debian 12.14 64位"], disk[: 2 << 20] + random.Random(2).randbytes(6 << 20))
        _publish(settings, catalog, images["kernel-lab-old"], disk, digest=f"sha256:{'0' * 64}")
        _edit(catalog)
        if inert:
            _write_markup(catalog)
        _run(catalog, images["build-runner"])
        store = open_store(settings.store_place)
        measure_store(catalog, store, time.time, time.monotonic)
        add_stopped_host(settings)
        _spread(catalog)
    finally:
        catalog.database.close()
    return settings, key


def _images(catalog: Catalog) -> dict[str, Image]:
    with catalog.database.read() as connection:
        return {image.name: image for image in IMAGES.live(connection)}


def _author(action: str) -> Author:
    return Author("operator/main", "192.0.2.10", "", action, time.time())


def _publish(settings: Settings, catalog: Catalog, image: Image, disk: bytes, digest: str = "") -> None:
    """Publish a raw disk, as the demonstration does. With a wrong digest it fails."""
    digest = digest or f"sha256:{hashlib.sha256(disk).hexdigest()}"
    origin = Origin(digest=digest, size=len(disk), name=f"{image.name}.raw")
    job = new_job(
        new_job_id(random.Random(image.id).randbytes),
        image.id,
        origin,
        time.time() - 60,
        project=image.project,
        actor="operator/main",
    )
    store = open_store(settings.store_place)
    with catalog.change(_author("PublishPHostImage")) as change:
        IMAGES.put(change, replace(image, state=State.MAKING))
        expect_image_bytes(change, job)
    for number, start in enumerate(range(0, len(disk), uploads.PART)):
        raw = disk[start : start + uploads.PART]
        uploads.put_part(store, job.id, number, uploads.pack_part(raw, hashlib.sha256(raw).digest()))
    with catalog.database.write() as connection:
        jobs.queue(connection, job.id)
    with warnings_only():
        claimed = jobs.claim(catalog.database, "demo", time.time())
        assert claimed is not None
        pipeline = open_pipeline(settings, store, second_opinion=False)
        Worker(catalog, store, pipeline, "demo", threading.Event()).work(claimed)


def _edit(catalog: Catalog) -> None:
    web = _images(catalog)["web-frontend"]
    with catalog.change(_author("EditPHostImage")) as change:
        IMAGES.put(change, replace(web, labels={"team": "web"}, description="the front end of the shop", version="v1.2"))
    with catalog.change(_author("SetQuota")) as change:
        QUOTAS.put(change, Quota(ProjectId("org-default"), 17 << 20))
        QUOTAS.put(change, Quota(ProjectId("org-xyz"), 200 << 20))


def _write_markup(catalog: Catalog) -> None:
    evil = _images(catalog)["mysql-primary"]
    with catalog.change(Author(f"operator/main {EVIL}", EVIL, EVIL, "EditPHostImage", time.time())) as change:
        labels = {"team": "data"}
        IMAGES.put(change, replace(evil, id=ImageId("pimg-os-inert"), name=EVIL, description=EVIL, version=EVIL, labels=labels))


def _run(catalog: Catalog, image: Image) -> None:
    """A publication that a publisher is in the middle of."""
    origin = Origin(url="https://images.example.com/build-runner.qcow2", digest=f"sha256:{'a' * 64}", size=2_254_857_830)
    job = new_job(JobId("job-running"), image.id, origin, time.time() - 90, project=image.project, actor="demo/main")
    with catalog.change(_author("PublishPHostImage")) as change:
        expect_image_bytes(change, job)
    with catalog.database.write() as connection:
        jobs.queue(connection, job.id)
    claimed = jobs.claim(catalog.database, "publisher-1", time.time())
    assert claimed is not None
    jobs.renew(catalog.database, claimed, "fetch", 947_040_288, 2_254_857_830, time.time(), 86_400.0)


def _spread(catalog: Catalog) -> None:
    """Give the revisions times of the last weeks, in their order: else a chart of days has one column."""
    now = int(time.time() * 1_000_000)
    with catalog.database.write() as connection:
        newest = connection.execute(text("SELECT max(number) FROM revision")).scalar_one()
        for number in range(1, newest + 1):
            before = (DAYS * 86_400_000_000 * (newest - number)) // newest
            connection.execute(
                text("UPDATE revision SET time = :time WHERE number = :number"), {"time": now - before, "number": number}
            )
