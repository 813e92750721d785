"""What follows the beginning of a publication: the upload of the original, and how far the work on it is."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.actions.images import ImageIdParam
from phimage.actions.publish import UPLOAD_SECONDS, DigestParam, digest_param
from phimage.actions.service import Call
from phimage.catalog import image_bytes, jobs
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.chunks import uploads
from phimage.chunks.errors import BadUpload
from phimage.errors import TooLargeParam, UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId
from phimage.model.image import State
from phimage.model.job import Job, JobState


class GetPHostImageUploadUrl(Struct, rename="pascal", frozen=True, kw_only=True):
    """A new address for an upload that is not complete yet."""

    image_id: ImageIdParam


class GetPHostImageUploadUrlResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Where parts are put."""

    upload_url: Annotated[str, Meta(description="where parts are put")]
    expire_time: Annotated[int, Meta(description="until when it works, Unix seconds")]


class CompletePHostImageUpload(Struct, rename="pascal", frozen=True, kw_only=True):
    """All parts of an upload are here: let it be published."""

    image_id: ImageIdParam
    size: Annotated[int, Meta(ge=1, description="bytes of the original file")]
    digest: DigestParam = ""


class GetPHostImageJob(Struct, rename="pascal", frozen=True, kw_only=True):
    """How far the publication of an image is."""

    image_id: ImageIdParam


class JobResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The last work on an image. `Done` and `Total` are bytes of the phase."""

    image_id: Annotated[str, Meta(description="the image")]
    image_state: Annotated[str, Meta(description="Making, Available or Unavailable; empty when it was withdrawn")]
    job_id: Annotated[str, Meta(description="the work")]
    state: Annotated[str, Meta(description="Waiting for an upload, Queued, Running, Done or Failed")]
    phase: Annotated[str, Meta(description="fetch, unpack, examine, convert or store; empty before the first")]
    done: Annotated[int, Meta(description="bytes of the phase that are done")]
    total: Annotated[int, Meta(description="bytes of the phase, 0 when they are not known")]
    error: Annotated[
        str, Meta(description="which image was not published, and why; of a queued job, why it is tried again later")
    ]
    findings: Annotated[tuple[str, ...], Meta(description="what the inspection of a published disk remarked, as id: text")]


def get_phost_image_upload_url(request: GetPHostImageUploadUrl, call: Call) -> GetPHostImageUploadUrlResponse:
    job = _newest(request.image_id, call)
    if job.state is not JobState.WAITING:
        raise UnavailableParam("ImageId", detail=f"no upload is awaited: its publication is {job.state.value}")
    expires = int(call.time) + UPLOAD_SECONDS
    return GetPHostImageUploadUrlResponse(upload_url=call.service.upload_url(job.id, call, expires), expire_time=expires)


def complete_phost_image_upload(request: CompletePHostImageUpload, call: Call) -> JobResponse:
    job = _newest(request.image_id, call)
    if job.state is not JobState.WAITING:
        if job.origin.url or job.origin.size != request.size:
            raise UnavailableParam("ImageId", detail=f"no upload is awaited: its publication is {job.state.value}")
        return get_phost_image_job(GetPHostImageJob(image_id=request.image_id), call)  # the answer to the first call was lost
    if request.size > call.service.max_original:
        raise TooLargeParam("Size", detail=f"the original may have {call.service.max_original} bytes at most")
    origin = replace(job.origin, size=request.size, sent=digest_param("Digest", request.digest))
    try:
        uploads.complete(job.id, uploads.parts(call.service.store, job.id), request.size)
    except BadUpload as error:
        raise UnavailableParam("Size", detail=str(error)) from None
    with call.service.catalog.database.write() as connection:
        jobs.queue(connection, job.id, origin)
    return get_phost_image_job(GetPHostImageJob(image_id=request.image_id), call)


def get_phost_image_job(request: GetPHostImageJob, call: Call) -> JobResponse:
    job = _newest(request.image_id, call)
    with call.service.catalog.database.read() as connection:
        image = IMAGES.find(connection, request.image_id)
        content = IMAGE_BYTES.find(connection, request.image_id)
        known_since = image_bytes.known_since(connection, request.image_id)
    if not job.unfinished and not call.service.is_everywhere(known_since):
        # A client that reads Done asks for the image next, perhaps at another server.
        job, content = replace(job, state=JobState.RUNNING, error=""), None
        image = image and replace(image, state=State.MAKING)
    return JobResponse(
        image_id=job.image,
        image_state=image.state.value if image else "",
        job_id=job.id,
        state=job.state.value,
        phase=job.phase,
        done=job.done,
        total=job.total,
        error=f"{job.image} was not published: {job.error}" if job.state is JobState.FAILED else job.error,
        findings=content.findings if content else (),
    )


def _newest(image: ImageId, call: Call) -> Job:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        job = jobs.newest_of(connection, image)
    if job is None:
        raise UnavailableParam("ImageId", detail="there is no image with this id that was published with its bytes")
    return job


ACTIONS = (
    Action(GetPHostImageUploadUrl, GetPHostImageUploadUrlResponse, get_phost_image_upload_url, Right.OPERATE),
    Action(CompletePHostImageUpload, JobResponse, complete_phost_image_upload, Right.OPERATE, changes=True),
    Action(GetPHostImageJob, JobResponse, get_phost_image_job, Right.OPERATE),
)
