"""The log of revisions, for the operator."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.changed_fields import ChangedRecord, changed_records
from phimage.actions.params import rfc3339
from phimage.actions.service import Call
from phimage.catalog.history import find_revision, steps_of
from phimage.catalog.revisions import RevisionRecord, count_by_day, log
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import Revision

MAX_REVISION = 2**63 - 1
"""The largest integer of the databases."""
DAY_SECONDS = 86_400


class ListRevisions(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the revisions of the catalogue: what each changed, when, by whom and from where."""

    after: Annotated[int, Meta(ge=0, le=MAX_REVISION, description="revisions after this one, oldest first")] | None = None
    before: Annotated[int, Meta(ge=0, le=MAX_REVISION, description="revisions before this one, newest first")] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="max revisions to list")] = 20
    noun: (
        Annotated[str, Meta(max_length=32, description="revisions that changed a record of this kind, such as image")] | None
    ) = None
    id: Annotated[str, Meta(max_length=255, description="revisions that changed a record with this id")] | None = None
    actor: Annotated[str, Meta(max_length=255, description="revisions whose actor has this text in it")] | None = None


class RevisionChange(Struct, rename="pascal", frozen=True, kw_only=True):
    """A record that a revision changed."""

    noun: Annotated[str, Meta(description="kind of record, such as image or account")]
    id: Annotated[str, Meta(description="id of the record")]
    verb: Annotated[str, Meta(description="added, changed, withdrawn, or adopted by a catalogue file")]


class RevisionSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """One revision."""

    revision: Annotated[int, Meta(description="number of the revision")]
    time: Annotated[str, Meta(description="time of the change, RFC 3339 in UTC")]
    actor: Annotated[str, Meta(description="account, user and public key of the author")]
    address: Annotated[str, Meta(description="network address of the author")]
    request_id: Annotated[str, Meta(description="X-UCLOUD-REQUEST-UUID of the request; empty for a command")]
    action: Annotated[str, Meta(description="the Action or command that made the change")]
    changes: Annotated[tuple[RevisionChange, ...], Meta(description="the records that the revision changed")]


class ListRevisionsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A page of the log."""

    newest: Annotated[int, Meta(description="the newest revision of the catalogue")]
    revision_set: Annotated[tuple[RevisionSet, ...], Meta(description="the revisions of the page")]


class GetRevision(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show what one revision changed: each record with its fields before and since, in pages."""

    revision: Annotated[int, Meta(ge=1, le=MAX_REVISION, description="number of the revision")]
    offset: Annotated[int, Meta(ge=0, le=MAX_REVISION, description="number of changes to skip")] = 0
    limit: Annotated[int, Meta(ge=1, le=1000, description="max changes to show")] = 100


class RevisionDetail(Struct, rename="pascal", frozen=True, kw_only=True):
    """A revision and a page of its changes."""

    revision: Annotated[int, Meta(description="number of the revision")]
    time: Annotated[str, Meta(description="time of the change, RFC 3339 in UTC")]
    actor: Annotated[str, Meta(description="account, user and public key of the author")]
    address: Annotated[str, Meta(description="network address of the author")]
    request_id: Annotated[str, Meta(description="X-UCLOUD-REQUEST-UUID of the request; empty for a command")]
    action: Annotated[str, Meta(description="the Action or command that made the change")]
    total_count: Annotated[int, Meta(description="number of all changes of the revision")]
    changes: Annotated[tuple[ChangedRecord, ...], Meta(description="the changes of the page, in the order of the log")]


class GetRevisionResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The revision."""

    revision: Annotated[RevisionDetail, Meta(description="the revision")]


class GetRevisionStatistics(Struct, rename="pascal", frozen=True, kw_only=True):
    """Count the revisions of the last days, by day."""

    days: Annotated[int, Meta(ge=1, le=366, description="number of days, up to today in UTC")] = 30


class RevisionDay(Struct, rename="pascal", frozen=True, kw_only=True):
    """A day in UTC."""

    day: Annotated[int, Meta(description="when it began, Unix seconds")]
    publications: Annotated[int, Meta(description="publications that ended")]
    changes: Annotated[int, Meta(description="all other revisions")]


class GetRevisionStatisticsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The days, oldest first, also those without a revision."""

    day_set: Annotated[tuple[RevisionDay, ...], Meta(description="the days")]


def list_revisions(request: ListRevisions, call: Call) -> ListRevisionsResponse:
    call.view.may_wait()
    before = call.view.revision + 1
    if request.before is not None:
        before = min(before, request.before)
    with call.service.catalog.database.read() as connection:
        records = log(
            connection,
            after=Revision(request.after or 0),
            before=Revision(before),
            limit=request.limit,
            newest_first=request.after is None,
            noun=request.noun or "",
            id=request.id or "",
            actor=request.actor or "",
        )
    return ListRevisionsResponse(
        newest=call.service.catalog.head, revision_set=tuple(_revision_set(record) for record in records)
    )


# docs/decisions.md#the-fields-of-a-revision-come-from-its-rows
def get_revision(request: GetRevision, call: Call) -> GetRevisionResponse:
    call.view.may_wait()
    number = Revision(request.revision)
    with call.service.catalog.database.read() as connection:
        found = find_revision(connection, number) if number <= call.view.revision else None
        if found is None:
            raise UnavailableParam("Revision", detail=f"the newest revision is {call.view.revision}")
        steps = steps_of(connection, number, offset=request.offset, limit=request.limit)
    record, count = found
    detail = RevisionDetail(
        revision=record.number,
        time=rfc3339(record.time),
        actor=record.actor,
        address=record.address,
        request_id=record.request_id,
        action=record.action,
        total_count=count,
        changes=changed_records(steps),
    )
    return GetRevisionResponse(revision=detail)


def get_revision_statistics(request: GetRevisionStatistics, call: Call) -> GetRevisionStatisticsResponse:
    call.view.may_wait()
    today = int(call.time) // DAY_SECONDS * DAY_SECONDS
    first = today - (request.days - 1) * DAY_SECONDS
    with call.service.catalog.database.read() as connection:
        counts = {count.day: count for count in count_by_day(connection, since=first, until=call.view.revision)}
    days = range(first, today + 1, DAY_SECONDS)
    return GetRevisionStatisticsResponse(
        day_set=tuple(
            RevisionDay(day=day, publications=count.published if count else 0, changes=count.other if count else 0)
            for day in days
            for count in (counts.get(day),)
        )
    )


def _revision_set(record: RevisionRecord) -> RevisionSet:
    return RevisionSet(
        revision=record.number,
        time=rfc3339(record.time),
        actor=record.actor,
        address=record.address,
        request_id=record.request_id,
        action=record.action,
        changes=tuple(RevisionChange(noun=change.noun, id=change.id, verb=change.verb) for change in record.changes),
    )


ACTIONS = (
    Action(ListRevisions, ListRevisionsResponse, list_revisions, Right.OPERATE),
    Action(GetRevision, GetRevisionResponse, get_revision, Right.OPERATE),
    Action(GetRevisionStatistics, GetRevisionStatisticsResponse, get_revision_statistics, Right.OPERATE),
)
