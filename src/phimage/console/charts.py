"""The geometry of charts. Templates draw them as inline SVG, which needs no script and no style of its own."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

WIDTH = 1000.0
"""Units of the width of a bar that stands for the whole."""
DAY_WIDTH, DAY_HEIGHT = 24, 120
"""Units of a day, and of the highest day."""


class Bar(Struct, frozen=True):
    """A part of a horizontal bar, in units of WIDTH."""

    x: float
    width: float


class DayBar(Struct, frozen=True):
    """A day of a chart: two stacked columns in units from the top, with their numbers."""

    day: int
    x: int
    publications: int
    changes: int
    publications_y: float
    publications_height: float
    changes_y: float
    changes_height: float


class DaysChart(Struct, frozen=True):
    """A column for each day. `most` is the number that the highest column stands for."""

    width: int
    height: int
    most: int
    total: int
    days: tuple[DayBar, ...]


def bars(parts: Sequence[int], whole: int) -> list[Bar]:
    """The parts of a bar side by side. A part that is not 0 can be seen."""
    found, x = [], 0.0
    for part in parts:
        width = min(WIDTH - x, max(WIDTH * part / whole, 3.0)) if part and whole else 0.0
        found.append(Bar(round(x, 1), round(width, 1)))
        x += width
    return found


def days_chart(days: Sequence[tuple[int, int, int]]) -> DaysChart:
    """The chart of days, each with its publications and its other changes, publications below."""
    most = max((publications + changes for _, publications, changes in days), default=0)
    scale = DAY_HEIGHT / most if most else 0.0
    columns = []
    for position, (day, publications, changes) in enumerate(days):
        low, high = publications * scale, changes * scale
        columns.append(
            DayBar(
                day=day,
                x=position * DAY_WIDTH,
                publications=publications,
                changes=changes,
                publications_y=round(DAY_HEIGHT - low, 1),
                publications_height=round(low, 1),
                changes_y=round(DAY_HEIGHT - low - high, 1),
                changes_height=round(high, 1),
            )
        )
    total = sum(publications for _, publications, _ in days)
    return DaysChart(len(days) * DAY_WIDTH, DAY_HEIGHT, most, total, tuple(columns))
