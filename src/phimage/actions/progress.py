"""How far the publication of an image is, for everyone who sees the image."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from phimage.actions.images import ImageIdParam
from phimage.actions.params import RegionParam, ZoneParam, check_zone_allowed, zones_asked
from phimage.actions.service import Call
from phimage.actions.uploading import CAPTURE, as_seen, failure_of, in_capture, in_time
from phimage.catalog import image_bytes, jobs
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.chunks import uploads
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.image import ImageType
from phimage.model.image_bytes import ImageBytes
from phimage.model.job import Job, JobState

UPLOAD: Final = "upload"
RECEIVED: Final = 40.0
"""Percent of a publication once its original is complete."""
# docs/decisions.md#progress-has-fixed-shares
SHARES: Final = {
    UPLOAD: (0.0, RECEIVED),
    CAPTURE: (0.0, RECEIVED),
    "fetch": (0.0, RECEIVED),
    "unpack": (RECEIVED, 55.0),
    "examine": (55.0, 57.0),
    "convert": (57.0, 70.0),
    "store": (70.0, 99.0),
}
"""From which percent to which a phase leads."""


class GetPHostImageProgress(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show how far the publication of an image is, also of a host's disk. Everyone who sees the image may ask."""

    region: RegionParam
    zone: ZoneParam
    image_id: ImageIdParam


class GetPHostImageProgressResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The progress of a publication. Durations are texts of whole seconds, and 0 while they cannot be estimated."""

    process: Annotated[float, Meta(ge=0, le=100, description="percent of the publication; 100 once the image has its bytes")]
    total_duration: Annotated[str, Meta(pattern="^[0-9]+$", description="estimated seconds from its beginning to its end")]
    remaining_duration: Annotated[str, Meta(pattern="^[0-9]+$", description="estimated seconds until its end")]
    phase: Annotated[
        str, Meta(description="upload, capture, fetch, unpack, examine, convert or store; empty while it waits for a publisher")
    ]
    done: Annotated[int, Meta(description="processed bytes of the phase")]
    total: Annotated[int, Meta(description="all bytes of the phase; 0 if unknown")]
    sent: Annotated[int, Meta(description="bytes of the original file that have arrived; of a capture, those that were sent")]
    reused: Annotated[
        int,
        Meta(
            description="bytes of the disk that the store had already, known at the end, 0 for tenants; during a capture those "
            "that did not have to be sent"
        ),
    ]
    error: Annotated[str, Meta(description="why it failed; while it waits, why it will be retried")]


def get_phost_image_progress(request: GetPHostImageProgress, call: Call) -> GetPHostImageProgressResponse:
    tenant = call.caller.tenant
    check_zone_allowed(zones_asked(request.region, request.zone, tenant, call.view.topology()), tenant)
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        image = IMAGES.find(connection, request.image_id)
        job = jobs.newest_of(connection, request.image_id)
        stored = IMAGE_BYTES.find(connection, request.image_id)
        known_since = image_bytes.known_since(connection, request.image_id)
        job = in_capture(job, connection) if job else None
    visible = image is not None and (
        image.type is ImageType.BASE or image.project == call.project or call.caller.account.operator
    )
    if not visible:
        raise UnavailableParam("ImageId", detail="there is no such image, or this project cannot see it")
    if job is None:
        raise UnavailableParam("ImageId", detail="it was neither published nor captured: it is an entry of the catalogue alone")
    job = as_seen(in_time(job, known_since, call), call)
    phase, done, total, sent = _place(job, call)
    process = _process(job, phase, done, total)
    whole, remaining = _durations(job, process, stored, call.time)
    return GetPHostImageProgressResponse(
        process=process,
        total_duration=str(whole),
        remaining_duration=str(remaining),
        phase=phase,
        done=done,
        total=total,
        sent=sent,
        # docs/decisions.md#what-the-store-had-already-is-for-operators
        reused=job.reused if call.caller.account.operator or phase == CAPTURE else 0,
        error=failure_of(job),
    )


def _place(job: Job, call: Call) -> tuple[str, int, int, int]:
    """The phase, its processed bytes and all its bytes, and the bytes of the original that have arrived."""
    if job.state is not JobState.WAITING or job.phase:
        return job.phase, job.done, job.total, job.sent
    sent = sum(part.size for part in uploads.parts(call.service.store, job.id))
    return UPLOAD, sent, job.origin.size, sent


def _process(job: Job, phase: str, done: int, total: int) -> float:
    """Percent of a publication."""
    if job.state is JobState.DONE:
        return 100.0
    start, end = SHARES.get(phase, (0.0 if job.origin.url else RECEIVED,) * 2)
    return round(start + (end - start) * min(1.0, done / total if total else 0.0), 2)


def _durations(job: Job, process: float, stored: ImageBytes | None, now: float) -> tuple[int, int]:
    """Seconds from the beginning of a publication to its end, and from now; 0 where they are unknown."""
    if job.state is JobState.DONE:
        return max(0, round(stored.published - job.created)) if stored is not None and stored.published else 0, 0
    elapsed = max(0.0, now - job.created)
    if job.state is JobState.FAILED or not process:
        return 0, 0
    whole = elapsed * 100 / process
    return round(whole), max(0, round(whole - elapsed))


ACTIONS = (
    Action(
        GetPHostImageProgress,
        GetPHostImageProgressResponse,
        get_phost_image_progress,
        Right.READ,
        project=True,
        any_project=True,
    ),
)
