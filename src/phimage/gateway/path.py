"""The path of a request: the pinned revision or time of the catalogue, and the default length of lists.

Clients keep the path of their base URL and do not sign it, so `https://host/rev/8123/` pins the whole catalogue and
`https://host/limit/1000/` lengthens the lists of clients that never page. All other segments are part of a base path.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from phimage.errors import UnavailableParam
from phimage.model.ids import Revision


class Pin(Struct, frozen=True):
    """At most one of `revision` and `time` (microseconds since 1970) is set; neither means the present."""

    revision: Revision | None = None
    time: int | None = None
    limit: int | None = None

    @property
    def pinned(self) -> bool:
        """Whether a past catalogue is requested."""
        return self.revision is not None or self.time is not None


_MAX_KEPT = 256
"""The maximum length of a path that is kept. One of a client that wants to fill the memory has 128 KiB."""


def read_path(path: str) -> Pin:
    """The pin in a path. Raises UnavailableParam with the name of the malformed segment."""
    return _read_kept(path) if len(path) <= _MAX_KEPT else _read(path)


@lru_cache(maxsize=1024)
def _read_kept(path: str) -> Pin:
    return _read(path)


def _read(path: str) -> Pin:
    revision, time, limit = None, None, None
    segments = path.strip("/").split("/")
    for word, value in zip(segments, [*segments[1:], ""], strict=True):
        if word == "rev":
            _once(word, revision, time)
            revision = Revision(_number(word, value))
        elif word == "at":
            _once(word, revision, time)
            time = _time(value)
        elif word == "limit":
            _once(word, limit)
            limit = _number(word, value)
    return Pin(revision, time, limit)


def _once(word: str, *given: int | None) -> None:
    if any(value is not None for value in given):
        raise UnavailableParam(word, detail="the path has it twice; give it once, and only one of rev and at")


def _number(word: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise UnavailableParam(word, detail=f"expected /{word}/<number>/ in the path")
    return int(text)


def _time(text: str) -> int:
    try:
        time: datetime | None = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UnavailableParam("at", detail="expected /at/<RFC 3339 time>/ in the path, such as /at/2026-11-01T00:00:00Z/")
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
