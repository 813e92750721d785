"""Uploads of originals, and the jobs that publish images."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.actions.images import ImageIdParam
from phimage.actions.publish import UPLOAD_SECONDS
from phimage.actions.publish_checks import DigestParam, digest_param, tenant_of_call
from phimage.actions.service import Call
from phimage.catalog import image_bytes, jobs
from phimage.catalog.engine import Connection
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.catalog.images import IMAGES
from phimage.catalog.orders import capture_of
from phimage.chunks import uploaded_chunks, uploads
from phimage.chunks.errors import BadUpload
from phimage.errors import TooLargeParam, UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId, JobId, Revision
from phimage.model.image import State
from phimage.model.job import CANCELLED, Job, JobState

CAPTURE: Final = "capture"
"""The phase in which the agent of a host sends its disk."""


class GetPHostImageUploadUrl(Struct, rename="pascal", frozen=True, kw_only=True):
    """Return a new URL for an upload that is not complete. A tenant gets that of an upload which the tenant began."""

    image_id: ImageIdParam


class GetPHostImageUploadUrlResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The upload URL."""

    upload_url: Annotated[str, Meta(description="URL that takes the parts, or the chunks of a raw disk (docs/store-format.md)")]
    expire_time: Annotated[int, Meta(description="when the URL expires, Unix seconds")]


class CompletePHostImageUpload(Struct, rename="pascal", frozen=True, kw_only=True):
    """Complete an upload whose parts are all sent, or whose disk is sealed, and queue its publication."""

    image_id: ImageIdParam
    size: Annotated[int, Meta(ge=1, description="size of the original file in bytes")]
    digest: DigestParam = ""


class GetPHostImageJob(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show the job that publishes an image, and why it failed. Tenants see the jobs of their project's images.

    They read the reason of a failure, and findings, where they publish the image themselves.
    """

    image_id: ImageIdParam


class JobResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The last job of an image."""

    image_id: Annotated[str, Meta(description="image id")]
    image_state: Annotated[str, Meta(description="Making, Available or Unavailable; empty for a withdrawn image")]
    job_id: Annotated[str, Meta(description="id of the job")]
    state: Annotated[str, Meta(description="state of the job: Waiting (for an upload), Queued, Running, Done or Failed")]
    phase: Annotated[str, Meta(description="capture, fetch, unpack, examine, convert or store; empty before the first phase")]
    done: Annotated[int, Meta(description="processed bytes of the phase")]
    total: Annotated[int, Meta(description="all bytes of the phase; 0 if unknown")]
    error: Annotated[str, Meta(description="why the job failed; for a queued job, why it will be retried")]
    findings: Annotated[tuple[str, ...], Meta(description="findings of the inspection, each as id: text")]
    p_host_id: Annotated[str, Meta(description="host whose disk the agent sends; empty for other publications")]


def get_phost_image_upload_url(request: GetPHostImageUploadUrl, call: Call) -> GetPHostImageUploadUrlResponse:
    job = _upload_of(request.image_id, call)
    if job.state is not JobState.WAITING:
        raise UnavailableParam("ImageId", detail=f"its publication is {job.state.value} and takes no upload")
    expires = int(call.time) + UPLOAD_SECONDS
    return GetPHostImageUploadUrlResponse(upload_url=call.service.upload_url(job.id, call, expires), expire_time=expires)


def complete_phost_image_upload(request: CompletePHostImageUpload, call: Call) -> JobResponse:
    job = _upload_of(request.image_id, call)
    if job.state is not JobState.WAITING:
        if job.origin.url or job.origin.size != request.size:
            raise UnavailableParam("ImageId", detail=f"its publication is {job.state.value} and takes no upload")
        # A retry: the response to the first request was lost.
        return get_phost_image_job(GetPHostImageJob(image_id=request.image_id), call)
    if request.size > call.service.max_original:
        raise TooLargeParam("Size", detail=f"an original file has at most {call.service.max_original} bytes")
    origin = replace(job.origin, size=request.size, sent=digest_param("Digest", request.digest))
    try:
        _check_complete(job.id, request.size, call)
    except BadUpload as error:
        raise UnavailableParam("Size", detail=str(error)) from None
    with call.service.write(call) as connection:
        jobs.queue(connection, job.id, origin)
    return get_phost_image_job(GetPHostImageJob(image_id=request.image_id), call)


def get_phost_image_job(request: GetPHostImageJob, call: Call) -> JobResponse:
    job = _newest(request.image_id, call)
    with call.service.catalog.database.read() as connection:
        image = IMAGES.find(connection, request.image_id)
        stored = IMAGE_BYTES.find(connection, request.image_id)
        known_since = image_bytes.known_since(connection, request.image_id)
        job = in_capture(job, connection)
    ended = not job.unfinished
    job = in_time(job, known_since, call)
    if ended and job.unfinished:
        stored, image = None, image and replace(image, state=State.MAKING)
    job = as_seen(job, call)
    return JobResponse(
        image_id=job.image,
        image_state=image.state.value if image else "",
        job_id=job.id,
        state=job.state.value,
        phase=job.phase,
        done=job.done,
        total=job.total,
        error=failure_of(job),
        findings=stored.findings if stored and is_publisher(job, call) else (),
        p_host_id=job.origin.host,
    )


def in_capture(job: Job, connection: Connection) -> Job:
    """The job with the progress of the agent that sends the disk, as long as it does."""
    order = capture_of(connection, job.image) if job.origin.host and job.state is JobState.WAITING else None
    if order is None:
        return job
    return replace(job, phase=CAPTURE, done=order.done, total=order.total, sent=order.sent, reused=order.reused)


# docs/decisions.md#the-end-of-a-publication-is-reported-late
def in_time(job: Job, known_since: Revision, call: Call) -> Job:
    """The job, still running if not every process of the installation knows its end.

    A client that reads Done requests the image next, perhaps from a server that does not know the revision yet.
    """
    if job.unfinished or call.service.is_everywhere(known_since):
        return job
    return replace(job, state=JobState.RUNNING, error="")


def failure_of(job: Job) -> str:
    """Why a job failed or will be retried, for people."""
    return f"{job.image} was not published: {job.error}" if job.state is JobState.FAILED else job.error


# docs/decisions.md#failure-reasons-are-for-those-who-publish
def is_publisher(job: Job, call: Call) -> bool:
    """Whether the caller may know everything about a publication: operators, and the tenant who publishes."""
    return tenant_of_call(call) in ("", job.origin.tenant)


def as_seen(job: Job, call: Call) -> Job:
    """The job as the caller may see it: the reason of a failure is for those who publish, but who cancelled it for all."""
    if not job.error or is_publisher(job, call) or job.error.startswith(CANCELLED):
        return job
    return replace(job, error="an operator publishes this image and knows the reason")


def _check_complete(job: JobId, size: int, call: Call) -> None:
    """Raises BadUpload unless a disk of this size was sealed, or all parts of such a file were sent."""
    store = call.service.store
    sealed = uploaded_chunks.find_seal(store, job)
    if sealed is None:
        uploads.check_complete(job, uploads.parts(store, job), size)
    elif sealed.size != size:
        raise BadUpload(job, f"a disk of {sealed.size} bytes was sealed, not of {size}")


def _newest(image: ImageId, call: Call) -> Job:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        job = jobs.newest_of(connection, image)
    if job is None or (tenant_of_call(call) and job.project != call.project):
        raise UnavailableParam("ImageId", detail="there is no publication of an image with this id")
    return job


def _upload_of(image: ImageId, call: Call) -> Job:
    """The job of an image whose parts the caller may send."""
    job = _newest(image, call)
    if not is_publisher(job, call):
        raise UnavailableParam("ImageId", detail="an operator publishes this image, and only operators send its parts")
    if job.origin.host:  # the report of the agent queues the job and ends its order, both or neither
        raise UnavailableParam("ImageId", detail=f"the agent of its host {job.origin.host} sends the disk and completes it")
    return job


ACTIONS = (
    Action(
        GetPHostImageUploadUrl,
        GetPHostImageUploadUrlResponse,
        get_phost_image_upload_url,
        Right.CHANGE,
        project=True,
        any_project=True,
    ),
    Action(
        CompletePHostImageUpload,
        JobResponse,
        complete_phost_image_upload,
        Right.CHANGE,
        project=True,
        any_project=True,
        changes=True,
    ),
    Action(GetPHostImageJob, JobResponse, get_phost_image_job, Right.READ, project=True, any_project=True),
)
