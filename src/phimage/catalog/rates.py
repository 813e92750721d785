"""What server processes tell each other about the requests that they let through. Not facts: no revision, gone in a minute."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, func, insert, select

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.model.ids import PublicKey

FORGET_SECONDS = 60


def exchange(database: Database, process: str, used: Mapping[PublicKey, int], now: float) -> dict[PublicKey, int]:
    """Tell what this process let through, and learn what the others did, ever, by key."""
    rows = tables.rate_use
    with database.write() as connection:
        connection.execute(delete(rows).where((rows.c.process == process) | (rows.c.time < int(now) - FORGET_SECONDS)))
        if used:
            told = [{"key": key, "process": process, "used": count, "time": int(now)} for key, count in used.items()]
            connection.execute(insert(rows), told)
        others = select(rows.c.key, func.sum(rows.c.used)).where(rows.c.process != process).group_by(rows.c.key)
        return {PublicKey(key): int(count) for key, count in connection.execute(others)}
