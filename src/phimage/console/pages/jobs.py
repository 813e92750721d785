"""Jobs: the publications with their progress, and the upload of a file from the browser."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from phimage.actions.jobs import JobFilter, ListPHostImageJobs, ListPHostImageJobsResponse, PHostImageJobSet
from phimage.actions.progress import SHARES
from phimage.actions.uploading import (
    CompletePHostImageUpload,
    GetPHostImageJob,
    GetPHostImageUploadUrl,
    GetPHostImageUploadUrlResponse,
    JobResponse,
)
from phimage.console.changes import number
from phimage.console.form import PageError
from phimage.console.pages.places import project_choices
from phimage.console.visit import ActionRefused, PageContent, Visit
from phimage.model.job import JobState

ROWS = 50
MAX_SIZE = 1 << 50
PHASES = tuple(SHARES)
WAYS_IN = ("upload", "capture", "fetch")
"""The first phases, of which a publication has one."""
_LIVE = (JobState.QUEUED.value, JobState.RUNNING.value)


async def show_jobs(visit: Visit) -> PageContent:
    """The page of all jobs, newest first."""
    address = visit.address
    state = address.get("State") if address.get("State") in tuple(JobFilter) else None
    page = {"Before": address.get("before") or None, "After": address.get("after") or None}
    if page["Before"]:
        page["After"] = None
    found = await visit.change(
        ListPHostImageJobs, ListPHostImageJobsResponse, State=state, Limit=ROWS, ProjectId=_project(visit), **page
    )
    rows = list(found.job_set[::-1]) if page["After"] else list(found.job_set)
    older = rows[-1].job_id if rows and (found.next or page["After"]) else ""
    newer = rows[0].job_id if rows and (page["Before"] or (page["After"] and found.next)) else ""
    return PageContent(
        "jobs.html",
        {
            "rows": rows,
            "states": tuple(JobFilter),
            "older": address.href(before=older, after=None) if older else "",
            "newer": address.href(after=newer, before=None) if newer else "",
            "live": any(job.state in _LIVE for job in rows),
            "projects": await project_choices(visit),
        },
    )


async def show_job(visit: Visit, id: str) -> PageContent:
    """The page of one job. While it waits for a file, the browser can send it."""
    job = await _job(visit, id)
    details = await visit.change(GetPHostImageJob, JobResponse, ImageId=job.image_id, ProjectId=job.project_id or None)
    values: dict[str, Any] = {
        "job": job,
        "findings": details.findings if details.job_id == job.job_id else (),
        "phases": [_way_in(job), *(phase for phase in PHASES if phase not in WAYS_IN)],
        "live": job.state in _LIVE,
        "upload": await _upload_path(visit, job) if job.state == JobState.WAITING.value and not job.p_host_id else "",
    }
    return PageContent("job.html", values)


async def upload_address(visit: Visit, id: str) -> PageContent:
    """A fresh address for the parts, for the script of the page whose own one has expired."""
    job = await _job(visit, id)
    return PageContent(json={"Upload": await _upload_path(visit, job), "State": job.state})


async def complete(visit: Visit, id: str) -> PageContent:
    """Queue the publication of a file whose parts are all there."""
    job = await _job(visit, id)
    size = number(visit.form, "Size", MAX_SIZE)
    await visit.change(CompletePHostImageUpload, JobResponse, ImageId=job.image_id, Size=size, ProjectId=job.project_id or None)
    return PageContent(json={})


async def _job(visit: Visit, id: str) -> PHostImageJobSet:
    found = await visit.change(ListPHostImageJobs, ListPHostImageJobsResponse, JobId=id, ProjectId=_project(visit))
    if not found.job_set:
        raise PageError(404, "absent")
    return found.job_set[0]


async def _upload_path(visit: Visit, job: PHostImageJobSet) -> str:
    """Path and query of the upload, on the origin of the page; empty for somebody who may not send its parts."""
    project = job.project_id or None
    try:
        url = await visit.change(
            GetPHostImageUploadUrl, GetPHostImageUploadUrlResponse, ImageId=job.image_id, ProjectId=project
        )
    except ActionRefused:
        return ""
    parts = urlsplit(url.upload_url)
    return f"{parts.path}?{parts.query}"


def _project(visit: Visit) -> str | None:
    return visit.address.get("ProjectId") or None


def _way_in(job: PHostImageJobSet) -> str:
    """The first phase of a publication."""
    if job.p_host_id:
        return "capture"
    return "upload" if job.source == "uploaded" else "fetch"
