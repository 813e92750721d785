"""Parts under way: a few at once, each in a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from hashlib import sha256
from types import TracebackType
from typing import Final

from phimage.chunks.frame import zero_digest, zeros
from phimage.sources.progress import REPORT_SECONDS, Meter
from phimage.upload_client.connection import Connection, Kept
from phimage.upload_client.content import Content, content

UNDER_WAY: Final = 3
"""Parts that are sent at once; the next one is read meanwhile."""

_LEAVE_SECONDS: Final = 2.0


class _Part:
    """A part on its way. Its raw bytes are let go when what is sent was made of them."""

    def __init__(self, number: int, raw: bytes, kept: Kept | None) -> None:
        self.number = number
        self.size = len(raw)
        self.kept = kept
        self.content: Content | None = None
        self._raw = raw

    @property
    def out(self) -> int:
        """About how many of its bytes went out."""
        return int(self.size * self.content.sent) if self.content is not None else 0

    def deliver(self, connection: Connection) -> int:
        """See to it that the server has it. How many bytes that took: none when it had these very bytes."""
        raw, self._raw = self._raw, b""
        digest = zero_digest(self.size) if raw == zeros(self.size) else sha256(raw).digest()
        if self.kept is not None and (self.kept.size, self.kept.sha256) == (self.size, digest.hex()):
            connection.have(self.size)
            return 0
        self.content = content(raw, digest)
        del raw
        connection.put(self.number, self.size, self.content)
        return self.size


class PartQueue:
    """The parts of one file. It is a context manager: what is still under way when it is left ends soon, unfinished.

    The threads do not keep the program alive: a server that is slow to answer does not hold up Ctrl-C.
    """

    def __init__(self, connection: Connection, total: int | None, meter: Meter) -> None:
        """`total` bytes of the file, as far as known."""
        self.sent = 0
        self._done = 0
        self._connection = connection
        self._total = total
        self._meter = meter
        self._parts: dict[Future[int], _Part] = {}

    def add(self, number: int, raw: bytes, kept: Kept | None) -> None:
        """Send a part when there is a place for it. `kept` is what the server has. Raises what went wrong with earlier ones."""
        self._await(UNDER_WAY - 1)
        part, future = _Part(number, raw, kept), Future[int]()
        self._parts[future] = part
        threading.Thread(
            target=_deliver, args=(part, self._connection, future), name=f"phimage-upload-{number}", daemon=True
        ).start()

    def finish(self) -> None:
        """Wait until the server has all parts. Raises what went wrong."""
        self._await(0)
        self._meter.finish(self._done, self._total)

    def __enter__(self) -> PartQueue:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self._connection.stop()
        wait_for(self._parts, _LEAVE_SECONDS)

    def _await(self, limit: int) -> None:
        """Wait until at most so many are under way."""
        while True:
            ended, _ = wait_for(self._parts, REPORT_SECONDS if len(self._parts) > limit else 0, FIRST_COMPLETED)
            for future in ended:
                self.sent += future.result()
                self._done += self._parts.pop(future).size
            self._meter.update(self._done + sum(part.out for part in self._parts.values()), self._total)
            if len(self._parts) <= limit:
                return


def _deliver(part: _Part, connection: Connection, future: Future[int]) -> None:
    try:
        future.set_result(part.deliver(connection))
    except BaseException as error:  # noqa: BLE001  it is raised again in the thread that waits
        future.set_exception(error)
