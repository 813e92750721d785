"""The quotas of projects and how full they are."""

from __future__ import annotations

from phimage.actions.quotas import ListQuotas, ListQuotasResponse
from phimage.console.visit import PageContent, Visit

ALMOST_FULL = 0.9
"""The used part of a quota from which it needs attention."""


async def show_quotas(visit: Visit) -> PageContent:
    """The page of the quotas, the fullest first."""
    found = await visit.change(ListQuotas, ListQuotasResponse)
    rows = sorted(found.quota_set, key=lambda quota: (-used_part(quota.published + quota.reserved, quota.limit), quota.project))
    return PageContent(
        "quotas.html",
        {
            "rows": rows,
            "as_of": int(visit.now),
            "full": {row.project for row in rows if used_part(row.published + row.reserved, row.limit) >= ALMOST_FULL},
        },
    )


def used_part(used: int, limit: int) -> float:
    """The used part of a quota. A quota of nothing is full."""
    return used / limit if limit else 1.0
