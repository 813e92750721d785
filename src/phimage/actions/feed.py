"""The change feed: what happened to the images that a project can see, revision by revision."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import rfc3339
from phimage.actions.service import Call
from phimage.catalog.revisions import BASE, log, project_scope
from phimage.errors import LongPoll
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import Revision
from phimage.model.image import ImageType

LONGEST_WAIT = 25
"""Seconds. Clients give up from 30 seconds on."""


class ListPHostImageChanges(Struct, rename="pascal", frozen=True, kw_only=True):
    """List what happened to the images that the project can see after a revision, or wait until something does."""

    after: Annotated[int, Meta(ge=0, description="the revision up to which the caller knows; Next of the answer before")] = 0
    limit: Annotated[int, Meta(ge=1, le=1000, description="most revisions to answer")] = 100
    wait: Annotated[int, Meta(ge=0, le=LONGEST_WAIT, description="seconds to wait when nothing happened yet")] = 0


class ImageChange(Struct, rename="pascal", frozen=True, kw_only=True):
    """One image, changed by one revision."""

    revision: Annotated[int, Meta(description="the revision that changed it")]
    time: Annotated[str, Meta(description="when: RFC 3339, UTC")]
    image_id: Annotated[str, Meta(description="image id")]
    image_type: Annotated[str, Meta(description="Base or Custom")]
    change: Annotated[str, Meta(description="added, changed or withdrawn")]


class ListPHostImageChangesResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Changes, oldest first. Asking again with After=Next misses nothing and repeats nothing."""

    next: Annotated[int, Meta(description="the revision up to which this answer tells; After of the next call")]
    newest: Annotated[int, Meta(description="the newest revision there is")]
    change_set: Annotated[tuple[ImageChange, ...], Meta(description="the changes")]


def list_phost_image_changes(request: ListPHostImageChanges, call: Call) -> ListPHostImageChangesResponse:
    newest = call.view.revision
    if request.after < newest:
        call.view.may_wait()
        answer = _changes(request, call, newest)
    else:
        answer = ListPHostImageChangesResponse(next=newest, newest=newest, change_set=())
    if not answer.change_set and answer.next == newest and request.wait and call.patient and not call.view.pinned:
        raise LongPoll(request.wait)
    return answer


def _changes(request: ListPHostImageChanges, call: Call, newest: Revision) -> ListPHostImageChangesResponse:
    visible = {BASE: ImageType.BASE, project_scope(call.project): ImageType.CUSTOM}
    with call.service.catalog.database.read() as connection:
        records = log(
            connection,
            after=Revision(request.after),
            before=Revision(newest + 1),
            limit=request.limit,
            newest_first=False,
            scopes=tuple(visible),
        )
    changes = tuple(
        ImageChange(
            revision=record.number,
            time=rfc3339(record.time),
            image_id=change.id,
            image_type=visible[change.scope].value,
            change=change.verb,
        )
        for record in records
        for change in record.changes
        if change.scope in visible
    )
    seen = records[-1].number if len(records) == request.limit else newest
    return ListPHostImageChangesResponse(next=seen, newest=newest, change_set=changes)


ACTIONS = (Action(ListPHostImageChanges, ListPHostImageChangesResponse, list_phost_image_changes, Right.READ, project=True),)
