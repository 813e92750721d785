"""The overview: what needs attention, and what changed last."""

from __future__ import annotations

from typing import Any

from phimage.actions.feed import ImageChange, ListPHostImageChanges, ListPHostImageChangesResponse
from phimage.actions.find import ALL, FindPHostImages, FindPHostImagesResponse
from phimage.actions.jobs import ListPHostImageJobs, ListPHostImageJobsResponse
from phimage.actions.quotas import ListQuotas, ListQuotasResponse
from phimage.actions.revisions import ListRevisions, ListRevisionsResponse
from phimage.console.pages.log import log_row, one_of_each
from phimage.console.pages.places import project_choices
from phimage.console.pages.quotas import ALMOST_FULL, used_part
from phimage.console.visit import PageContent, Visit
from phimage.model.image import State

NEWEST = 8
FAILED = 20
"""Failed jobs that are looked at; those whose image works by now need no attention."""


async def show_overview(visit: Visit) -> PageContent:
    """The first page."""
    project = None if visit.session.is_operator else visit.address.get("ProjectId") or None
    failed = await visit.change(ListPHostImageJobs, ListPHostImageJobsResponse, State="Failed", Limit=FAILED, ProjectId=project)
    unfinished = await visit.change(
        ListPHostImageJobs, ListPHostImageJobsResponse, State="Unfinished", Limit=FAILED, ProjectId=project
    )
    values: dict[str, Any] = {
        "failed": _newest_of_image([job for job in failed.job_set if job.image_state == State.UNAVAILABLE]),
        "unfinished": unfinished.job_set,
        "quotas": [],
        "records": [],
        "changes": [],
        "away": {name: reason for name, reason in visit.health().items() if reason and name != "stopping"},
        "projects": await project_choices(visit),
        "counts": {state.value: await _count(visit, State=state.value) for state in State},
    }
    if visit.session.is_operator:
        quotas = await visit.change(ListQuotas, ListQuotasResponse)
        values["quotas"] = [
            quota for quota in quotas.quota_set if used_part(quota.published + quota.reserved, quota.limit) >= ALMOST_FULL
        ]
        log = await visit.change(ListRevisions, ListRevisionsResponse, Limit=NEWEST)
        values["records"] = [log_row(record) for record in log.revision_set]
    else:
        values["changes"] = await _newest_changes(visit, project)
    return PageContent("overview.html", values)


def _newest_of_image(jobs: list[Any]) -> list[Any]:
    """The newest job of each image; jobs come newest first."""
    found: dict[str, Any] = {}
    for job in jobs:
        found.setdefault(job.image_id, job)
    return list(found.values())


async def _count(visit: Visit, **params: object) -> int:
    """How many images there are that this session sees, deprecated ones too."""
    owner = {"ProjectId": ALL} if visit.session.is_operator else {}
    found = await visit.ask(FindPHostImages, FindPHostImagesResponse, **owner, Deprecated="include", Limit=0, **params)
    return found.total_count


async def _newest_changes(visit: Visit, project: str | None) -> list[ImageChange]:
    """The last changes that a tenant sees, newest first: those of the last revisions."""
    newest = visit.revision or 0
    feed = await visit.change(
        ListPHostImageChanges, ListPHostImageChangesResponse, After=max(0, newest - 200), Limit=200, ProjectId=project
    )
    return one_of_each(feed.change_set[::-1])[:NEWEST]
