"""What server processes report to each other about the requests that they let through. Not facts: no revision, gone soon."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import delete, insert, select

from phimage.catalog import tables
from phimage.catalog.engine import Database
from phimage.model.ids import PublicKey


def exchange(
    database: Database, process: str, used: Mapping[PublicKey, int], now: float, gone: Collection[str] = ()
) -> dict[str, dict[PublicKey, int]]:
    """Report what this process let through, ever, by key; return the same of each other process.

    Removes the reports of processes that are `gone`. `now` only dates the rows.
    """
    rows = tables.rate_use
    with database.write() as connection:
        connection.execute(delete(rows).where(rows.c.process.in_([process, *gone])))
        if used:
            told = [{"key": key, "process": process, "used": count, "time": int(now)} for key, count in used.items()]
            connection.execute(insert(rows), told)
        others = select(rows.c.process, rows.c.key, rows.c.used).where(rows.c.process != process)
        reports: dict[str, dict[PublicKey, int]] = {}
        for other, key, count in connection.execute(others):
            reports.setdefault(other, {})[PublicKey(key)] = int(count)
        return reports
