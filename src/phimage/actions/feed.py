"""The change feed: changes of the images that a project can see, by revision."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import rfc3339
from phimage.actions.service import Call
from phimage.catalog.revisions import BASE, log, project_scope
from phimage.errors import LongPoll
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId, Revision
from phimage.model.image import ImageType

MAX_WAIT = 25
"""Max seconds of a long poll. Clients time out after 30 seconds or more."""
_OF_IMAGES = ("image", "image_bytes")
"""The records of the log that are parts of images; a quota has the scope of its project too."""


class ListPHostImageChanges(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the changes of the images that the project can see after a revision, or wait for the next change."""

    after: Annotated[int, Meta(ge=0, description="list changes after this revision: Next of the previous response")] = 0
    limit: Annotated[int, Meta(ge=1, le=1000, description="max revisions to list")] = 100
    wait: Annotated[int, Meta(ge=0, le=MAX_WAIT, description="max seconds to wait for a change if there is none yet")] = 0
    image_id: Annotated[ImageId, Meta(max_length=64, description="changes of this image alone")] | None = None


class ImageChange(Struct, rename="pascal", frozen=True, kw_only=True):
    """A change of one image by one revision."""

    revision: Annotated[int, Meta(description="the revision that changed it")]
    time: Annotated[str, Meta(description="time of the change, RFC 3339 in UTC")]
    image_id: Annotated[str, Meta(description="image id")]
    image_type: Annotated[str, Meta(description="Base or Custom")]
    change: Annotated[str, Meta(description="added, changed or withdrawn")]


class ListPHostImageChangesResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """Changes, oldest first. Repeating the request with After=Next misses and repeats no change."""

    next: Annotated[int, Meta(description="the last revision of this response: After of the next request")]
    newest: Annotated[int, Meta(description="the newest revision of the catalogue")]
    change_set: Annotated[tuple[ImageChange, ...], Meta(description="the changes")]


def list_phost_image_changes(request: ListPHostImageChanges, call: Call) -> ListPHostImageChangesResponse:
    newest = call.view.revision
    if request.after > newest and not call.view.pinned:  # another process knows more, and has told the caller of it
        call.view.may_wait()
        newest = call.service.catalog.refresh(probe=False)
    if request.after < newest:
        call.view.may_wait()
        response = _changes(request, call, newest)
    else:
        response = ListPHostImageChangesResponse(next=newest, newest=newest, change_set=())
    if not response.change_set and response.next == newest and request.wait and call.patient and not call.view.pinned:
        raise LongPoll(request.wait)
    return response


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
            id=request.image_id or "",
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
        if change.scope in visible and change.noun in _OF_IMAGES and request.image_id in (None, change.id)
    )
    last = records[-1].number if len(records) == request.limit else newest
    return ListPHostImageChangesResponse(next=last, newest=newest, change_set=changes)


ACTIONS = (Action(ListPHostImageChanges, ListPHostImageChangesResponse, list_phost_image_changes, Right.READ, project=True),)
