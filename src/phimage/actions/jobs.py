"""Jobs: the publications of images with their progress, and how one is cancelled. Operators see all, a tenant its project's."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.actions.service import Call
from phimage.actions.uploading import CAPTURE, as_seen, in_capture, in_time, is_publisher
from phimage.catalog import jobs
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.engine import Connection
from phimage.catalog.image_bytes import give_up, known_since_of
from phimage.catalog.images import images_of_file, live_images
from phimage.catalog.orders import end_capture
from phimage.errors import UnavailableParam, UnknownProject
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId, JobId, ProjectId, Revision
from phimage.model.image import Image, State
from phimage.model.job import CANCELLED, UNFINISHED, Job, JobState
from phimage.sources.url import shown


class JobFilter(StrEnum):
    """A state of jobs, or Unfinished for those that wait, are queued or run."""

    WAITING = "Waiting"
    QUEUED = "Queued"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"
    UNFINISHED = "Unfinished"

    @property
    def states(self) -> tuple[JobState, ...]:
        """The states that it selects."""
        return UNFINISHED if self is JobFilter.UNFINISHED else (JobState(self.value),)


JobIdParam = Annotated[JobId, Meta(min_length=1, max_length=64, description="id of the job")]


ProjectParam = Annotated[
    ProjectId,
    Meta(description="project of the jobs: for operators any, by default all; for tenants as in other Actions"),
]


class ListPHostImageJobs(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the jobs that publish images of the project, newest first.

    An operator lists the jobs of the given project, or without ProjectId those of all projects and of base images. Before
    and After are jobs of an earlier page: a page of older ones, and a page of newer ones, oldest first.
    """

    project_id: ProjectParam | None = None
    state: (
        Annotated[JobFilter, Meta(description="jobs in this state; Unfinished for those that wait, are queued or run")] | None
    ) = None
    image_id: Annotated[ImageId, Meta(max_length=64, description="jobs of this image")] | None = None
    job_id: Annotated[JobId, Meta(max_length=64, description="the job with this id")] | None = None
    before: Annotated[JobId, Meta(max_length=64, description="jobs older than this one, newest first")] | None = None
    after: Annotated[JobId, Meta(max_length=64, description="jobs newer than this one, oldest first")] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="max jobs to list")] = 20


class CancelPHostImageJob(Struct, rename="pascal", frozen=True, kw_only=True):
    """Cancel an unfinished job, also one that runs. A job that failed or was cancelled stays as it is.

    The image becomes Unavailable with the reason; a base image that no catalogue file names is withdrawn. Nothing of it stays
    reserved. An operator cancels any job, an editor those of the project.
    """

    job_id: JobIdParam
    project_id: ProjectParam | None = None


class PHostImageJobSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """The publication of an image. Times are Unix seconds."""

    job_id: Annotated[str, Meta(description="id of the job")]
    image_id: Annotated[str, Meta(description="image id")]
    image_name: Annotated[str, Meta(description="name of the image; empty for a withdrawn one")]
    image_state: Annotated[str, Meta(description="Making, Available or Unavailable; empty for a withdrawn image")]
    project_id: Annotated[str, Meta(description="project of the image; empty for a base image")]
    state: Annotated[str, Meta(description="Waiting (for an upload), Queued, Running, Done or Failed")]
    phase: Annotated[str, Meta(description="capture, fetch, unpack, examine, convert or store; empty before the first phase")]
    done: Annotated[int, Meta(description="processed bytes of the phase")]
    total: Annotated[int, Meta(description="all bytes of the phase; 0 if unknown")]
    error: Annotated[str, Meta(description="why the job failed; for a queued job, why it will be tried again")]
    create_time: Annotated[int, Meta(description="when it was requested")]
    age: Annotated[int, Meta(description="seconds since then, by the server's clock")]
    source: Annotated[
        str, Meta(description="where the bytes come from: the URL of the original file, uploaded, or PHostId; empty like Actor")
    ]
    p_host_id: Annotated[str, Meta(description="host whose disk becomes the image; empty for other publications")]
    file_name: Annotated[
        str, Meta(description="name of the original file, by which a checksum file has its digest; empty like Actor")
    ]
    size: Annotated[int, Meta(description="bytes of the original file; 0 if unknown")]
    sent: Annotated[int, Meta(description="bytes of the original file that have arrived")]
    reused: Annotated[
        int,
        Meta(
            description="bytes of the disk that the store had already, known at the end, 0 for tenants; during a capture those "
            "that did not have to be sent"
        ),
    ]
    digest: Annotated[str, Meta(description="expected digest of the original file; empty to record that of the bytes")]
    override: Annotated[tuple[str, ...], Meta(description="ids of findings that its publisher overrides")]
    reserved: Annotated[int, Meta(description="bytes that it reserves of the quota")]
    claims: Annotated[int, Meta(description="how often a publisher has claimed it")]
    failures: Annotated[int, Meta(description="consecutive failures of its source")]
    retry_time: Annotated[int, Meta(description="when a queued job is tried again after a failure; 0 for at once")]
    lease_age: Annotated[int, Meta(description="seconds since its publisher renewed its claim; -1 unless it runs")]
    actor: Annotated[str, Meta(description="account, user and public key that requested it; empty for another account's")]
    publisher: Annotated[str, Meta(description="the process that claimed it last; empty for tenants")]


class ListPHostImageJobsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of jobs."""

    job_set: Annotated[tuple[PHostImageJobSet, ...], Meta(description="the jobs")]
    next: Annotated[str, Meta(description="Before, or After, of the next page; empty on the last one")]


class CancelPHostImageJobResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The job as it is now."""

    job_id: Annotated[str, Meta(description="id of the job")]
    image_id: Annotated[str, Meta(description="image id")]
    image_state: Annotated[str, Meta(description="Unavailable; empty if the image is withdrawn")]
    cancelled: Annotated[bool, Meta(description="whether this request ended the job; false if it had ended before")]
    error: Annotated[str, Meta(description="why the job ended")]


def list_phost_image_jobs(request: ListPHostImageJobs, call: Call) -> ListPHostImageJobsResponse:
    call.view.may_wait()
    if request.before is not None and request.after is not None:
        raise UnavailableParam("After", detail="give Before or After, not both")
    with call.service.catalog.database.read() as connection:
        project = _project(request.project_id, connection, call)
        found = jobs.page(
            connection,
            states=request.state.states if request.state else (),
            project=project,
            image=request.image_id,
            id=request.job_id,
            before=_cursor("Before", request.before, connection, call),
            after=_cursor("After", request.after, connection, call),
            limit=request.limit + 1,
        )
        shown_jobs = found[: request.limit]
        ids = {job.image for job in shown_jobs}
        images, since = live_images(connection, ids), known_since_of(connection, ids)
        shown_jobs = [in_capture(job, connection) for job in shown_jobs]
    return ListPHostImageJobsResponse(
        job_set=tuple(_job_set(*_reported(job, images, since, call), call) for job in shown_jobs),
        next=shown_jobs[-1].id if len(found) > request.limit else "",
    )


def cancel_phost_image_job(request: CancelPHostImageJob, call: Call) -> CancelPHostImageJobResponse:
    reason = f"{CANCELLED}{call.caller.account.id}/{call.caller.user.name}"
    with call.service.change(call) as change:
        job = _own(request.job_id, change.connection, call)
        if job is None:
            raise UnavailableParam("JobId", detail=f"there is no job {request.job_id}")
        # docs/decisions.md#a-cancelled-publication-ends-like-an-idle-upload
        cancelled = jobs.end(change.connection, job.id, reason)
        if cancelled:
            end_capture(change, job.image, reason)
            image = give_up(change, job.image, reason, images_of_file(change.connection))
        else:
            job = jobs.find(change.connection, job.id) or job
            image = live_images(change.connection, [job.image]).get(job.image)
    if job.state is JobState.DONE:
        raise UnavailableParam("JobId", detail=f"it is done: to remove the image, withdraw {job.image}")
    return CancelPHostImageJobResponse(
        job_id=job.id,
        image_id=job.image,
        image_state=image.state.value if image else "",
        cancelled=cancelled,
        error=reason if cancelled else as_seen(job, call).error,
    )


# docs/decisions.md#operators-see-the-jobs-of-all-projects
def _project(given: ProjectId | None, connection: Connection, call: Call) -> ProjectId | None:
    """The project whose jobs are listed; None for all. Raises UnknownProject for a project that an operator invented."""
    if not call.caller.account.operator:
        return call.project
    if given is not None and PROJECTS.find(connection, given) is None:
        raise UnknownProject(given)
    return given


def _own(id: JobId, connection: Connection, call: Call) -> Job | None:
    """A job that the caller may see. None for one of another project, as for one that never was."""
    job = jobs.find(connection, id)
    return job if job is not None and (call.caller.account.operator or job.project == call.project) else None


def _cursor(name: str, id: JobId | None, connection: Connection, call: Call) -> Job | None:
    job = None if id is None else _own(id, connection, call)
    if id is not None and job is None:
        raise UnavailableParam(name, detail=f"there is no job {id}: begin again without {name}")
    return job


def _reported(
    job: Job, images: Mapping[ImageId, Image], since: Mapping[ImageId, Revision], call: Call
) -> tuple[Job, Image | None]:
    """The job and its image as the caller may see them: done only once every process knows the image's bytes."""
    image = images.get(job.image)
    shown_job = in_time(job, since.get(job.image, Revision(0)), call) if job.state is JobState.DONE else job
    if shown_job.state is not job.state and image is not None:
        image = replace(image, state=State.MAKING)
    return as_seen(shown_job, call), image


def _job_set(job: Job, image: Image | None, call: Call) -> PHostImageJobSet:
    operator = call.caller.account.operator
    is_own = is_publisher(job, call)
    renewed = job.lease_until - call.service.lease_seconds
    return PHostImageJobSet(
        job_id=job.id,
        image_id=job.image,
        image_name=image.name if image else "",
        image_state=image.state.value if image else "",
        project_id=job.project,
        state=job.state.value,
        phase=job.phase,
        done=job.done,
        total=job.total,
        error=job.error,
        create_time=int(job.created),
        age=max(0, int(call.time - job.created)),
        source=_source(job) if is_own else "",
        p_host_id=job.origin.host,
        file_name=job.origin.name if is_own else "",
        size=job.origin.size,
        sent=job.sent,
        # docs/decisions.md#what-the-store-had-already-is-for-operators
        reused=job.reused if operator or job.phase == CAPTURE else 0,
        digest=job.origin.digest,
        override=job.origin.overrides,
        reserved=job.reserved if job.unfinished else 0,
        claims=job.fence,
        failures=job.failures,
        retry_time=int(job.not_before) if job.state is JobState.QUEUED else 0,
        lease_age=max(0, int(call.time - renewed)) if job.state is JobState.RUNNING and job.lease_until else -1,
        actor=job.actor if is_own else "",
        publisher=job.owner if operator else "",
    )


def _source(job: Job) -> str:
    return shown(job.origin.url) if job.origin.url else job.origin.host or "uploaded"


ACTIONS = (
    Action(ListPHostImageJobs, ListPHostImageJobsResponse, list_phost_image_jobs, Right.READ, project=True, any_project=True),
    Action(
        CancelPHostImageJob,
        CancelPHostImageJobResponse,
        cancel_phost_image_job,
        Right.CHANGE,
        project=True,
        any_project=True,
        changes=True,
    ),
)
