"""The clock of a world: frozen until it is moved, or running. It dates what is stored and shown."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from phimage.ci.errors import BadControl

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|)")
_LATEST = 32_503_680_000
"""The year 3000: later times do not fit into every client."""


class WorldClock:
    """Unix seconds. Safe to use from several threads: each change replaces one value."""

    def __init__(self, at: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: tuple[float, float | None] = (at, None)  # a time, and when it was that time; None while it is frozen

    def __call__(self) -> float:
        """The time now."""
        at, since = self._since
        return at if since is None else at + self._monotonic() - since

    @property
    def is_running(self) -> bool:
        """Whether it goes on by itself."""
        return self._since[1] is not None

    def advance(self, seconds: float) -> None:
        """Move it on. It never goes back: what was stored would be of the future."""
        self.set(self() + seconds)

    def set(self, at: float) -> None:
        """Move it to a later time. Raises BadControl."""
        if at < self():
            raise BadControl("the clock of a world only goes on", f"it is {shown(self())} there: reset the world to go back")
        if at > _LATEST:
            raise BadControl("the clock of a world ends in the year 3000", "advance it by less")
        self._since = (at, None if self._since[1] is None else self._monotonic())

    def run(self, running: bool) -> None:
        """Let it go on by itself, or freeze it."""
        self._since = (self(), self._monotonic() if running else None)


def read_duration(text: object, field: str) -> float:
    """Seconds in a text such as `90s`, `5m`, `2h`, `1d`, or a number of seconds. Raises BadControl."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if isinstance(text, int | float) and not isinstance(text, bool) and text >= 0:
        return float(text)
    if match is None:
        raise BadControl(f"{field}: {text!r} is no duration", "expected seconds, or a number with ms, s, m, h or d, such as 5m")
    return float(match[1]) * _UNITS[match[2]]


def read_time(text: object, field: str) -> float:
    """Unix seconds of a time such as `2027-01-01T00:00:00Z`, or as a number. Raises BadControl."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadControl(f"{field}: {text!r} is no time", "expected one with its zone, such as 2027-01-01T00:00:00Z")
    return at.timestamp()


def shown(at: float) -> str:
    """A time for people."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)).isoformat().replace("+00:00", "Z")
