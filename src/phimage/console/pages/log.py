"""The log: who changed what and when, and each revision with its fields before and after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from phimage.actions.feed import ImageChange
from phimage.actions.revisions import (
    GetRevision,
    GetRevisionResponse,
    ListRevisions,
    ListRevisionsResponse,
    RevisionSet,
)
from phimage.catalog.history import TABLES
from phimage.console.pagination import page_number, pages_of
from phimage.console.visit import PageContent, Visit

LOG_ROWS = 50
CHANGES = 50
"""Changed records of a page."""


class Tally(Struct, frozen=True):
    """How many records of a kind a revision changed in one way."""

    noun: str
    verb: str
    count: int


class LogRow(Struct, frozen=True):
    """A revision of the list with what it changed, counted. `only` is the id of the record if it is the only one."""

    revision: RevisionSet
    tallies: tuple[Tally, ...]
    only: str


async def show_log(visit: Visit) -> PageContent:
    """The page of the log, newest first. `before` is the revision that a page begins after."""
    address = visit.address
    before = address.number("before", 0) or None
    found = await visit.ask(
        ListRevisions,
        ListRevisionsResponse,
        Before=before,
        Limit=LOG_ROWS + 1,
        Noun=address.get("noun"),
        Id=address.get("id"),
        Actor=address.get("actor"),
    )
    shown = found.revision_set[:LOG_ROWS]
    return PageContent(
        "log.html",
        {
            "rows": [log_row(record) for record in shown],
            "newest": found.newest,
            "nouns": tuple(TABLES),
            "next": address.href(before=shown[-1].revision) if len(found.revision_set) > LOG_ROWS else "",
            "first": address.href(before=None) if before else "",
        },
    )


async def show_revision(visit: Visit, number: str) -> PageContent:
    """The page of one revision."""
    address = visit.address
    offset = (page_number(address) - 1) * CHANGES
    found = await visit.ask(GetRevision, GetRevisionResponse, Revision=int(number), Offset=offset, Limit=CHANGES)
    record = found.revision
    return PageContent(
        "revision.html",
        {
            "record": record,
            "newest": visit.revision or record.revision,
            "pages": pages_of(address, record.total_count, len(record.changes), CHANGES),
        },
    )


def log_row(record: RevisionSet) -> LogRow:
    """A revision with its changes counted by kind."""
    counts = Counter((change.noun, change.verb) for change in record.changes)
    return LogRow(
        record,
        tuple(Tally(noun, verb, count) for (noun, verb), count in counts.items()),
        record.changes[0].id if len(record.changes) == 1 else "",
    )


def one_of_each(changes: Iterable[ImageChange]) -> list[ImageChange]:
    """The changes with those of one image by one revision as one, in the order of the first of them.

    The feed has an image twice when its record and its bytes changed together. It was added or withdrawn if both were, or if
    nothing else happened to it; otherwise it was changed.
    """
    found: dict[tuple[int, str], ImageChange] = {}
    for change in changes:
        key = (change.revision, change.image_id)
        known = found.get(key)
        if known is None:
            found[key] = change
        elif known.change != change.change:
            verb = "withdrawn" if "withdrawn" in (known.change, change.change) else "changed"
            found[key] = replace(known, change=verb)
    return list(found.values())
