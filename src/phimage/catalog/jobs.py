"""Jobs as rows with leases. A worker renews the lease of its job, and proves with its fence that it still has the job.

A worker that was paused past its lease finds its fence outdated: what it then tells or finishes is refused, so a job has one
result (a fencing token). Every call is one short transaction.

No lease is compared with a clock. A lease has expired when another worker saw no renewal of it for its length, on its own
monotonic clock (`publishing.lease_expiry`), so clocks that step, and clocks that differ, take no job away and delay none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, case, func, insert, or_, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.model.ids import ImageId, JobId
from phimage.model.job import Job, JobState, Lease, Origin

LEASE_SECONDS = 30.0
MAX_POSTPONE_SECONDS = 600.0
"""A postponed job waits at most this long. A later `not_before` was written by a clock that is wrong, or was."""

_rows = tables.job
_UNFINISHED = (JobState.WAITING, JobState.QUEUED, JobState.RUNNING)
_columns = [_rows.c[name] for name in Job.__struct_fields__]


def add(connection: Connection, job: Job) -> None:
    """Add a job, in whatever transaction asks for it."""
    connection.execute(insert(_rows), {name: getattr(job, name) for name in Job.__struct_fields__})


def find(connection: Connection, id: JobId) -> Job | None:
    """A job by id."""
    return _one(connection, _rows.c.id == id)


def newest_of(connection: Connection, image: ImageId) -> Job | None:
    """The last job of an image."""
    found = connection.execute(
        select(*_columns).where(_rows.c.image == image).order_by(_rows.c.created.desc(), _rows.c.id).limit(1)
    ).first()
    return None if found is None else _decode(found)


def find_token(connection: Connection, token: str) -> Job | None:
    """The last job that was asked for with a token."""
    found = connection.execute(
        select(*_columns).where(_rows.c.token == token).order_by(_rows.c.created.desc(), _rows.c.id).limit(1)
    ).first()
    return None if found is None else _decode(found)


def queue(connection: Connection, id: JobId, origin: Origin | None = None) -> bool:
    """An upload is complete: let a worker have the job, with what is known of its origin by now. False if it did not wait."""
    values = {} if origin is None else {"origin": origin}
    return _set(connection, and_(_rows.c.id == id, _rows.c.state == JobState.WAITING), state=JobState.QUEUED, **values)


def leases(database: Database) -> list[Lease]:
    """The leases of all running jobs."""
    columns = [_rows.c[name] for name in Lease.__struct_fields__]
    with database.read() as connection:
        rows = connection.execute(select(*columns).where(_rows.c.state == JobState.RUNNING))
        return [msgspec.convert(row._mapping, Lease) for row in rows]


def claim(
    database: Database,
    owner: str,
    now: float,
    lease_seconds: float = LEASE_SECONDS,
    expired: Collection[Lease] = (),
) -> Job | None:
    """Take the job that has been ready longest: queued and due, or running on one of the `expired` leases.

    A lease that was renewed since it was read is not taken. None when nothing is ready.
    """
    ready = _ready(now, expired)
    with database.read() as connection:  # most of the time there is nothing, and nobody should wait for that
        if connection.execute(select(_rows.c.id).where(ready).limit(1)).first() is None:
            return None
    since = case((_rows.c.not_before > _rows.c.created, _rows.c.not_before), else_=_rows.c.created)
    with database.write() as connection:
        found = connection.execute(
            select(_rows.c.id).where(ready).order_by(since, _rows.c.id).limit(1).with_for_update(skip_locked=True)
        ).first()
        if found is None:
            return None
        _set(
            connection,
            _rows.c.id == found.id,
            state=JobState.RUNNING,
            owner=owner,
            fence=_rows.c.fence + 1,
            lease_until=now + lease_seconds,
            error="",
        )
        return _one(connection, _rows.c.id == found.id)


def tell(
    database: Database, job: Job, phase: str, done: int, total: int, now: float, lease_seconds: float = LEASE_SECONDS
) -> bool:
    """Say how far a job is, which also renews its lease. False when the job is no longer the teller's."""
    with database.write() as connection:
        return _set(connection, _held(job), phase=phase, done=done, total=total, lease_until=now + lease_seconds)


def let_go(database: Database, job: Job) -> bool:
    """Give a job back, for another worker to go on with at once. False when it was lost already."""
    with database.write() as connection:
        return _set(connection, _held(job), state=JobState.QUEUED, lease_until=0.0)


def postpone(database: Database, job: Job, not_before: float, failures: int, reason: str) -> bool:
    """Queue a job again, for no earlier than a time, behind the jobs that are ready by then. False when it was lost already.

    `failures` is how often its source failed in a row, `reason` why it failed last.
    """
    values = {"not_before": not_before, "failures": failures, "error": reason, "lease_until": 0.0}
    with database.write() as connection:
        return _set(connection, _held(job), state=JobState.QUEUED, **values)


def finish(connection: Connection, job: Job, error: str = "") -> bool:
    """End a job, in the transaction that writes what came of it. False, and nothing is ended, when it was lost."""
    state = JobState.FAILED if error else JobState.DONE
    return _set(connection, _held(job), state=state, error=error, lease_until=0.0)


def give_up(connection: Connection, image: ImageId, reason: str) -> list[JobId]:
    """End every unfinished job of an image, whoever has it; its worker finds that it was lost. Returns their ids."""
    wanted = and_(_rows.c.image == image, _rows.c.state.in_(_UNFINISHED))
    ids = [JobId(row.id) for row in connection.execute(select(_rows.c.id).where(wanted))]
    connection.execute(update(_rows).where(wanted).values(state=JobState.FAILED, error=reason, lease_until=0.0))
    return ids


def waiting(connection: Connection, before: float) -> list[Job]:
    """The jobs that wait for an upload and were made before a time, in Unix seconds."""
    rows = connection.execute(select(*_columns).where(_rows.c.state == JobState.WAITING, _rows.c.created < before))
    return [_decode(row) for row in rows]


def end_waiting(connection: Connection, id: JobId, reason: str) -> Job | None:
    """End a job whose upload is given up. None, and nothing is ended, unless it still waits."""
    still = and_(_rows.c.id == id, _rows.c.state == JobState.WAITING)
    return find(connection, id) if _set(connection, still, state=JobState.FAILED, error=reason) else None


def unfinished(connection: Connection) -> int:
    """How many jobs are still to be done."""
    found: int = connection.execute(select(func.count()).where(_rows.c.state.in_(_UNFINISHED))).scalar_one()
    return found


def all_unfinished(connection: Connection) -> list[Job]:
    """The jobs that are still to be done, oldest first."""
    rows = connection.execute(select(*_columns).where(_rows.c.state.in_(_UNFINISHED)).order_by(_rows.c.created, _rows.c.id))
    return [_decode(row) for row in rows]


def _ready(now: float, expired: Collection[Lease]) -> Any:
    rows = _rows.c
    due = or_(rows.not_before <= now, rows.not_before > now + MAX_POSTPONE_SECONDS)
    unrenewed = [
        and_(
            rows.id == lease.id,
            rows.state == JobState.RUNNING,
            rows.fence == lease.fence,
            rows.lease_until == lease.lease_until,
        )
        for lease in expired
    ]
    return or_(and_(rows.state == JobState.QUEUED, due), *unrenewed)


def _held(job: Job) -> Any:
    return and_(_rows.c.id == job.id, _rows.c.state == JobState.RUNNING, _rows.c.fence == job.fence)


def _set(connection: Connection, where: Any, **values: Any) -> bool:
    return connection.execute(update(_rows).where(where).values(**values)).rowcount == 1


def _one(connection: Connection, where: Any) -> Job | None:
    found = connection.execute(select(*_columns).where(where)).first()
    return None if found is None else _decode(found)


def _decode(row: Any) -> Job:
    return msgspec.convert(row._mapping, Job)
