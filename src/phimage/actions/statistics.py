"""Statistics of the store, for the operator, as a publisher measured it last."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.service import Call
from phimage.chunks.errors import StoreFailure
from phimage.chunks.stats import DiskStats, last_measurement
from phimage.errors import ServiceUnavailable
from phimage.gateway.registry import Action
from phimage.model.account import Right


class GetStoreStatistics(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show how much space images take in the store, as a publisher measured it last.

    Publishers measure after changes, at most once a minute and at most a fiftieth of their time, and at least once an hour.
    """

    limit: Annotated[int, Meta(ge=0, le=1000, description="max disks to show, those that use the most space alone")] = 100


class DiskStatistics(Struct, rename="pascal", frozen=True, kw_only=True):
    """The space of one disk, in bytes."""

    manifest: Annotated[str, Meta(description="the disk's name in the store")]
    image_ids: Annotated[tuple[str, ...], Meta(description="the images that have this disk")]
    logical: Annotated[int, Meta(description="the raw disk")]
    data: Annotated[int, Meta(description="its chunks that are not only zeros")]
    own: Annotated[int, Meta(description="stored for it alone: what its removal frees")]
    shared: Annotated[int, Meta(description="stored, and needed by other disks too")]
    missing: Annotated[int, Meta(description="number of its chunks that the store lacks")]


class GetStoreStatisticsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The last measurement, in bytes. All numbers are 0 before the first one."""

    store: Annotated[str, Meta(description="the place of the store")]
    measure_time: Annotated[int, Meta(description="when it was measured, Unix seconds; 0 if it never was")]
    age: Annotated[int, Meta(description="seconds since then")]
    milliseconds: Annotated[int, Meta(description="how long measuring took")]
    revision: Annotated[int, Meta(description="the revision whose images were measured")]
    disk_count: Annotated[int, Meta(description="number of different disks")]
    image_count: Annotated[int, Meta(description="number of images with bytes")]
    chunks: Annotated[int, Meta(description="number of stored chunks that images need")]
    logical: Annotated[int, Meta(description="all raw disks")]
    data: Annotated[int, Meta(description="their chunks that are not only zeros")]
    stored: Annotated[int, Meta(description="stored chunks that images need, compressed, each once")]
    shared: Annotated[int, Meta(description="those of them that several disks need")]
    unneeded: Annotated[int, Meta(description="other stored chunks: of removed or unfinished images")]
    other: Annotated[int, Meta(description="all other objects, such as manifests and parts of uploads")]
    images: Annotated[tuple[DiskStatistics, ...], Meta(description="the disks that use the most space alone, at most 1000")]


def get_store_statistics(request: GetStoreStatistics, call: Call) -> GetStoreStatisticsResponse:
    call.view.may_wait()
    store = call.service.store
    try:
        last = last_measurement(store)
    except StoreFailure as failure:
        raise ServiceUnavailable(detail=str(failure)) from failure
    total = last.total if last else None
    return GetStoreStatisticsResponse(
        store=store.describe(),
        measure_time=int(last.finished) if last else 0,
        age=max(0, int(call.time - last.finished)) if last else 0,
        milliseconds=int(1000 * last.seconds) if last else 0,
        revision=last.revision if last else 0,
        disk_count=last.disk_count if last else 0,
        image_count=last.image_count if last else 0,
        chunks=total.chunks if total else 0,
        logical=total.logical if total else 0,
        data=total.data if total else 0,
        stored=total.stored if total else 0,
        shared=total.shared if total else 0,
        unneeded=total.unneeded if total else 0,
        other=total.other if total else 0,
        images=tuple(map(_disk, last.disks[: request.limit])) if last else (),
    )


def _disk(disk: DiskStats) -> DiskStatistics:
    stats = disk.stats
    return DiskStatistics(
        manifest=stats.manifest,
        image_ids=disk.images,
        logical=stats.logical,
        data=stats.data,
        own=stats.own,
        shared=stats.shared,
        missing=stats.missing,
    )


ACTIONS = (Action(GetStoreStatistics, GetStoreStatisticsResponse, get_store_statistics, Right.OPERATE),)
