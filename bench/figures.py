"""What was measured: named series with a value for each round, kept as JSON, so that parts can be measured one by one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

CACHE = Path(__file__).parent / ".cache"


class Spread(Struct, frozen=True):
    """The median of some values, with the lowest and the highest."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """In words."""
        if self.low == self.high:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


class Figures(Struct):
    """The series of a part. `about` is how the part was measured, in words."""

    about: str = ""
    series: dict[str, list[float]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.series

    def add(self, name: str, value: float) -> None:
        """Add the value of a round."""
        self.series.setdefault(name, []).append(value)

    def of(self, name: str) -> Spread:
        """The spread of a series."""
        return spread(self.series[name])

    def ratio(self, name: str, other: str) -> Spread:
        """The spread of a series divided by another, round by round: both were measured in turn."""
        return spread([one / each for one, each in zip(self.series[name], self.series[other], strict=False)])


def save(part: str, figures: Figures) -> None:
    """Keep the figures of a part, in place of those of before."""
    CACHE.mkdir(exist_ok=True)
    _file(part).write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1))


def load(part: str) -> Figures | None:
    """The figures of a part, if it was measured."""
    return msgspec.json.decode(_file(part).read_bytes(), type=Figures) if _file(part).exists() else None


def _file(part: str) -> Path:
    return CACHE / f"figures-{part}.json"
