"""The store: how much space images take, what they share, and the publications of the last days."""

from __future__ import annotations

from phimage.actions.find import ALL, FindPHostImages, FindPHostImagesResponse
from phimage.actions.revisions import GetRevisionStatistics, GetRevisionStatisticsResponse
from phimage.actions.statistics import GetStoreStatistics, GetStoreStatisticsResponse
from phimage.console.charts import Bar, bars, days_chart
from phimage.console.visit import PageContent, Visit

DISKS = 50
DAYS = 30
NAMES = 3
"""Images of a disk that are named; the others are counted."""


async def show_store(visit: Visit) -> PageContent:
    """The page of the store."""
    statistics = await visit.change(GetStoreStatistics, GetStoreStatisticsResponse, Limit=DISKS)
    days = await visit.change(GetRevisionStatistics, GetRevisionStatisticsResponse, Days=DAYS)
    names = await image_names(visit, [id for disk in statistics.images for id in disk.image_ids[:NAMES]])
    most = max((disk.own + disk.shared for disk in statistics.images), default=0)
    return PageContent(
        "store.html",
        {
            "statistics": statistics,
            "as_of": statistics.measure_time,
            "totals": _totals(statistics),
            "disks": [(disk, bars((disk.own, disk.shared), most)) for disk in statistics.images],
            "names": names,
            "named": NAMES,
            "chart": days_chart([(day.day, day.publications, day.changes) for day in days.day_set]),
            "days": days.day_set,
        },
    )


async def image_names(visit: Visit, ids: list[str]) -> dict[str, str]:
    """The names of images that still exist, by id."""
    names: dict[str, str] = {}
    for start in range(0, len(ids), visit.max_limit):
        some = ids[start : start + visit.max_limit]
        found = await visit.change(
            FindPHostImages, FindPHostImagesResponse, ImageId=some, ProjectId=ALL, Deprecated="include", Limit=len(some)
        )
        names |= {row.image.image_id: row.image.image_name for row in found.image_set}
    return names


def _totals(statistics: GetStoreStatisticsResponse) -> list[tuple[str, int, Bar]]:
    """The sizes of all disks as they shrink: raw, without zeros, as stored; each as a bar of the first."""
    sizes = (("logical", statistics.logical), ("data", statistics.data), ("stored", statistics.stored))
    return [(name, size, bars((size,), statistics.logical)[0]) for name, size in sizes]
