"""What requests to the endpoint are made of: durations and times, and the error of all that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from phimage.errors import PhimageError

_MAX_SECONDS = 1 << 53
"""Larger whole numbers are no floats, and the largest are none at all."""
_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|)")


class BadControl(PhimageError):
    """A name, a rule, a time or a seed that the endpoint cannot use. `remedy` says what is expected."""

    http_status = 400

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}: {remedy}")

    def public_fields(self) -> Mapping[str, object]:
        """See PhimageError."""
        return {"Message": self.what, "Detail": self.remedy}


def read_duration(text: object, field: str) -> float:
    """Seconds in a text such as `90s`, `5m`, `2h`, `1d`, or a number of seconds. Raises BadControl."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if isinstance(text, int | float) and not isinstance(text, bool) and 0 <= text < _MAX_SECONDS:
        return float(text)
    if match is None:
        raise BadControl(f"{field}: {text!r} is no duration", "expected seconds, or a number with ms, s, m, h or d, such as 5m")
    return float(match[1]) * _UNITS[match[2]]


def read_time(text: object, field: str) -> float:
    """Unix seconds of a time such as `2027-01-01T00:00:00Z`, or as a number. Raises BadControl."""
    if isinstance(text, int | float) and not isinstance(text, bool) and abs(text) < _MAX_SECONDS:
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
