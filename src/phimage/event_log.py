"""The event log: lines of JSON on standard error, each an event with its name, level, time and fields."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

_lock = threading.Lock()
_ignored: set[str] = set()


class EventLog:
    """Writes events, together with the fields that it has itself."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def bind(self, **fields: Any) -> EventLog:
        """A log whose events have these fields too."""
        return EventLog(**self._fields, **fields)

    def info(self, event: str, **fields: Any) -> None:
        """Write an event that is as it should be."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Write an event that an operator may have to look at."""
        self._write("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Write an event that an operator has to look at."""
        self._write("error", event, fields)

    def exception(self, event: str, error: BaseException, **fields: Any) -> None:
        """Write an event of a defect, with its traceback."""
        self._write("error", event, {**fields, "exception": "".join(traceback.format_exception(error)).rstrip()})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if level in _ignored:
            return
        time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        written = {**self._fields, **fields, "event": event, "level": level, "timestamp": time}
        line = json.dumps(written, default=repr) + "\n"
        with _lock, suppress(OSError, ValueError):  # standard error may be closed
            sys.stderr.write(line)
            sys.stderr.flush()


# docs/decisions.md#events-are-written-without-a-library
log = EventLog()


@contextmanager
def warnings_only() -> Iterator[None]:
    """Leave out events without a warning or an error, in this process and in the publishers that it starts."""
    _ignored.add("info")
    try:
        yield
    finally:
        _ignored.discard("info")


def writes_infos() -> bool:
    """Whether events without a warning or an error are written."""
    return "info" not in _ignored
