"""Jobs as rows with leases and fencing tokens.

A worker renews the lease of its job. Each claim increments the job's fence, and every update checks it: the updates of a worker
that was paused past its lease fail, so a job has exactly one result. Every call is one short transaction.

No lease is compared with a wall clock. A lease has expired when another worker has seen no renewal for its length, on its own
monotonic clock (`publishing.lease_expiry`). So clocks that step or differ neither steal nor delay a job.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, case, func, insert, or_, select, update

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.catalog.images import batches
from phimage.model.ids import AccountId, ImageId, JobId, ProjectId
from phimage.model.job import UNFINISHED, Job, JobLease, JobState, Origin

LEASE_SECONDS = 30.0
MAX_POSTPONE_SECONDS = 600.0
"""The longest postponement. A later `not_before` comes from a wrong clock and is ignored."""

_rows = tables.job
_columns = [_rows.c[name] for name in Job.__struct_fields__]


def add(connection: Connection, job: Job) -> None:
    """Add a job in the caller's transaction."""
    connection.execute(insert(_rows), {name: getattr(job, name) for name in Job.__struct_fields__})


def find(connection: Connection, id: JobId) -> Job | None:
    """A job by id."""
    return _one(connection, _rows.c.id == id)


def newest_of(connection: Connection, image: ImageId) -> Job | None:
    """The newest job of an image."""
    row = connection.execute(
        select(*_columns).where(_rows.c.image == image).order_by(_rows.c.created.desc(), _rows.c.id).limit(1)
    ).first()
    return None if row is None else _decode(row)


def newest_of_images(connection: Connection, images: Collection[ImageId]) -> dict[ImageId, Job]:
    """The newest job of each image that has one."""
    newest: dict[ImageId, Job] = {}
    for some in batches(images):
        order = (_rows.c.created.desc(), _rows.c.id)
        for row in connection.execute(select(*_columns).where(_rows.c.image.in_(some)).order_by(*order)):
            job = _decode(row)
            newest.setdefault(job.image, job)
    return newest


def find_token(connection: Connection, token: str, project: ProjectId, tenant: AccountId) -> Job | None:
    """The newest job that a tenant, or an operator for none, requested with a token for a project."""
    rows = connection.execute(
        select(*_columns).where(_rows.c.token == token, _rows.c.project == project).order_by(_rows.c.created.desc(), _rows.c.id)
    )
    return next((job for job in map(_decode, rows) if job.origin.tenant == tenant), None)


def page(
    connection: Connection,
    *,
    states: Collection[JobState] = (),
    project: ProjectId | None = None,
    image: ImageId | None = None,
    id: JobId | None = None,
    before: Job | None = None,
    after: Job | None = None,
    limit: int,
) -> list[Job]:
    """Jobs, newest first, or oldest first with `after`: the `limit` next to `before` or `after`, by creation and id.

    An empty or absent condition means any. Creation never changes, so pages neither overlap nor omit a job.
    """
    rows, ascending = _rows.c, after is not None
    conditions = ((rows.project, project), (rows.image, image), (rows.id, id))
    where: list[ColumnElement[bool]] = [column == value for column, value in conditions if value is not None]
    if before is not None:
        where.append(or_(rows.created < before.created, and_(rows.created == before.created, rows.id < before.id)))
    if after is not None:
        where.append(or_(rows.created > after.created, and_(rows.created == after.created, rows.id > after.id)))
    order = (rows.created, rows.id) if ascending else (rows.created.desc(), rows.id.desc())
    found: list[Job] = []
    wanted = tuple(states or JobState)
    few = image is not None or id is not None
    for group in (wanted,) if few else ((state,) for state in wanted):  # the index has the jobs of one state in order
        page = select(*_columns).where(rows.state.in_(group), *where).order_by(*order).limit(limit)
        found += map(_decode, connection.execute(page))
    return sorted(found, key=lambda job: (job.created, job.id), reverse=not ascending)[:limit]


def queue(connection: Connection, id: JobId, origin: Origin | None = None) -> bool:
    """Queue the job of a complete upload, with its final origin. False if the job was not waiting."""
    values = {} if origin is None else {"origin": origin, "sent": origin.size}
    return _set(connection, and_(_rows.c.id == id, _rows.c.state == JobState.WAITING), state=JobState.QUEUED, **values)


def leases(database: Database) -> list[JobLease]:
    """The leases of all running jobs."""
    columns = [_rows.c[name] for name in JobLease.__struct_fields__]
    with database.read() as connection:
        rows = connection.execute(select(*columns).where(_rows.c.state == JobState.RUNNING))
        return [msgspec.convert(row._mapping, JobLease) for row in rows]


def claim(
    database: Database,
    owner: str,
    now: float,
    lease_seconds: float = LEASE_SECONDS,
    expired: Collection[JobLease] = (),
) -> Job | None:
    """Claim the job that has been ready longest: queued and due, or running with one of the `expired` leases.

    Skips a lease that was renewed after it was read. Returns None if no job is ready.
    """
    ready = _ready(now, expired)
    with database.read() as connection:  # usually no job is ready, and a write would block other writers
        if connection.execute(select(_rows.c.id).where(ready).limit(1)).first() is None:
            return None
    since = case((_rows.c.not_before > _rows.c.created, _rows.c.not_before), else_=_rows.c.created)
    with database.write() as connection:
        row = connection.execute(
            select(_rows.c.id).where(ready).order_by(since, _rows.c.id).limit(1).with_for_update(skip_locked=True)
        ).first()
        if row is None:
            return None
        _set(
            connection,
            _rows.c.id == row.id,
            state=JobState.RUNNING,
            owner=owner,
            # docs/decisions.md#jobs-are-rows-with-leases-and-fences
            fence=_rows.c.fence + 1,
            lease_until=now + lease_seconds,
            error="",
        )
        return _one(connection, _rows.c.id == row.id)


def renew(
    database: Database,
    job: Job,
    phase: str,
    done: int,
    total: int,
    now: float,
    lease_seconds: float = LEASE_SECONDS,
    sent: int | None = None,
) -> bool:
    """Renew the lease of a job, with its progress and, of a URL, the bytes `sent`. False if the job was lost."""
    values = {"phase": phase, "done": done, "total": total} | ({} if sent is None else {"sent": sent})
    with database.write() as connection:
        return _set(connection, _held(job), **values, lease_until=now + lease_seconds)


def release(database: Database, job: Job) -> bool:
    """Queue a claimed job again, to be claimed at once. False if it was lost to another worker."""
    with database.write() as connection:
        return _set(connection, _held(job), state=JobState.QUEUED, lease_until=0.0)


def postpone(database: Database, job: Job, not_before: float, failures: int, reason: str) -> bool:
    """Queue a claimed job again, to be claimed after a time. False if it was lost to another worker.

    `failures` counts the consecutive failures of its source; `reason` is the last one.
    """
    values = {"not_before": not_before, "failures": failures, "error": reason, "lease_until": 0.0}
    with database.write() as connection:
        return _set(connection, _held(job), state=JobState.QUEUED, **values)


def finish(connection: Connection, job: Job, error: str = "", reused: int = 0) -> bool:
    """End a job in the transaction that writes its result. False, and no change, if it was lost to another worker."""
    state = JobState.FAILED if error else JobState.DONE
    return _set(connection, _held(job), state=state, error=error, reused=reused, lease_until=0.0)


def cancel(connection: Connection, image: ImageId, reason: str) -> list[JobId]:
    """End the unfinished jobs of an image, even claimed ones; their workers find them lost. Returns their ids."""
    wanted = and_(_rows.c.image == image, _rows.c.state.in_(UNFINISHED))
    ids = [JobId(row.id) for row in connection.execute(select(_rows.c.id).where(wanted))]
    connection.execute(update(_rows).where(wanted).values(state=JobState.FAILED, error=reason, lease_until=0.0))
    return ids


def end(connection: Connection, id: JobId, reason: str) -> bool:
    """End one unfinished job, even a claimed one; its worker finds it lost. False, and no change, if it has ended."""
    return _set(
        connection, and_(_rows.c.id == id, _rows.c.state.in_(UNFINISHED)), state=JobState.FAILED, error=reason, lease_until=0.0
    )


def waiting(connection: Connection, before: float) -> list[Job]:
    """The jobs that wait for an upload and were created before a time, in Unix seconds."""
    rows = connection.execute(select(*_columns).where(_rows.c.state == JobState.WAITING, _rows.c.created < before))
    return [_decode(row) for row in rows]


def end_waiting(connection: Connection, id: JobId, reason: str) -> Job | None:
    """End the job of an abandoned upload. None, and no change, if the job is not waiting."""
    still = and_(_rows.c.id == id, _rows.c.state == JobState.WAITING)
    return find(connection, id) if _set(connection, still, state=JobState.FAILED, error=reason) else None


def unfinished(connection: Connection, project: ProjectId | None = None) -> int:
    """The number of unfinished jobs: of a project, or of all."""
    where = [] if project is None else [_rows.c.project == project]
    count: int = connection.execute(select(func.count()).where(_rows.c.state.in_(UNFINISHED), *where)).scalar_one()
    return count


def all_unfinished(connection: Connection) -> list[Job]:
    """The unfinished jobs, oldest first."""
    rows = connection.execute(select(*_columns).where(_rows.c.state.in_(UNFINISHED)).order_by(_rows.c.created, _rows.c.id))
    return [_decode(row) for row in rows]


def _ready(now: float, expired: Collection[JobLease]) -> Any:
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
    row = connection.execute(select(*_columns).where(where)).first()
    return None if row is None else _decode(row)


def _decode(row: Any) -> Job:
    return msgspec.convert(row._mapping, Job)
