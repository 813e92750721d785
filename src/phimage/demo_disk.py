"""The disk of the demonstration: generated, published like any other disk, and bootable up to a message on the screen."""

from __future__ import annotations

import hashlib
import secrets
import struct
import threading
import time
from collections.abc import Callable
from functools import cache

import msgspec
from msgspec.structs import replace

from phimage.application import open_pipeline
from phimage.catalog import jobs
from phimage.catalog.image_bytes import IMAGE_BYTES, expect_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks import uploads
from phimage.chunks.factory import open_store
from phimage.chunks.layout import manifest_name
from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter
from phimage.errors import SetupError
from phimage.event_log import warnings_only
from phimage.formats import qemu
from phimage.formats.walls import try_walls
from phimage.installation import command_author
from phimage.model.ids import ImageId, RandomBytes, new_job_id
from phimage.model.image import Image, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.job import Job, Origin, new_job
from phimage.publishing.worker import Worker
from phimage.settings import Settings

SIZE = 8 << 20
MESSAGE = b"This is the demonstration disk of phimage. It works, and there is nothing else on it.\r\n"

_SECTOR = 512
_START = 1 << 20  # offset of its only partition
_PRINT = bytes.fromhex(  # 16-bit code that the BIOS starts at 0x7c00: prints the message that follows, then halts
    "fa 31c0 8ed8"  # disable interrupts; the data segment is the code segment
    "be197c"  # address of the message
    "ac 08c0 7409"  # the next character; 0 is the end
    "b40e bb0700 cd10 ebf2"  # print it with the BIOS, and repeat
    "f4 ebfd"  # halt
)


# docs/decisions.md#the-demonstration-publishes-its-own-disk
def make_disk() -> bytes:
    """A raw disk with a boot sector, and one active partition with some text."""
    table = struct.pack(
        "<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", _START // _SECTOR, (SIZE - _START) // _SECTOR
    )
    boot = (_PRINT + MESSAGE + b"\0").ljust(446, b"\0") + table + bytes(48) + b"\x55\xaa"
    lines = b"".join(b"line %06d: %s" % (number, MESSAGE) for number in range(20_000))
    return (boot.ljust(_START, b"\0") + lines).ljust(SIZE, b"\0")


@cache
def obstacle() -> str:
    """Why this machine cannot publish other disks, with the remedy: it lacks qemu-img or a wall of its sandbox."""
    try:
        qemu.program()
        try_walls().require()
    except SetupError as error:
        return str(error)
    return ""


def publish(
    settings: Settings,
    catalog: Catalog,
    id: ImageId,
    random: RandomBytes = secrets.token_bytes,
    now: Callable[[], float] = time.time,
) -> None:
    """Publish the demonstration disk for an image of the catalogue, unless the image has its bytes.

    After a failure the image is Unavailable, with the reason; the next call tries again.
    """
    disk = make_disk()
    with catalog.change(command_author("PublishPHostImage", now())) as change:
        image, image_bytes = IMAGES.find(change.connection, id), IMAGE_BYTES.find(change.connection, id)
        if image is None or (image_bytes is not None and image_bytes.stored):
            return
        job = _job(image, disk, random, now())
        IMAGES.put(change, replace(image, state=State.MAKING))
        expect_image_bytes(change, job)
    store = open_store(settings.store_place)
    for number, start in enumerate(range(0, SIZE, uploads.PART)):
        raw = disk[start : start + uploads.PART]
        uploads.put_part(store, job.id, number, uploads.pack_part(raw, hashlib.sha256(raw).digest()))
    with catalog.database.write() as connection:
        jobs.queue(connection, job.id)
    stop = threading.Event()
    with warnings_only():
        claimed = jobs.claim(catalog.database, "demo", now())
        if claimed is not None:
            # Made by the lines above and raw, so nothing is converted and one inspector is enough: qemu-img may be absent.
            pipeline = open_pipeline(settings, store, second_opinion=False)
            Worker(catalog, store, pipeline, "demo", stop, now=now).work(claimed)


def store_again(store: Store, image_bytes: ImageBytes) -> None:
    """Write the demonstration disk into a store that lacks it, for an image that has it according to the catalogue.

    Quicker than to publish it: it was examined when the template was made.
    """
    if store.find(manifest_name(image_bytes.manifest)) is not None:
        return
    with DiskWriter(store, SIZE) as writer:
        writer.write(make_disk())
        written = writer.finish(msgspec.json.decode(msgspec.json.encode(image_bytes.facts)))
    if written.digest != image_bytes.manifest:
        raise ValueError("the template is of another disk: run make template")


def _job(image: Image, disk: bytes, random: RandomBytes, now: float) -> Job:
    return new_job(
        id=new_job_id(random),
        image=image.id,
        origin=Origin(digest=f"sha256:{hashlib.sha256(disk).hexdigest()}", size=SIZE, name="demonstration.raw"),
        created=now,
        project=image.project,
        actor="command line",
    )
