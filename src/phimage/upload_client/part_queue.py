"""The queue of parts: sends a few concurrently, each in a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future
from concurrent.futures import wait as wait_for
from hashlib import sha256
from types import TracebackType
from typing import Final

from phimage.chunks.frame import zero_digest, zeros
from phimage.sources.progress import REPORT_SECONDS, Meter
from phimage.upload_client.connection import UploadConnection, UploadedPart
from phimage.upload_client.content import PartContent, part_content

MAX_CONCURRENT: Final = 3
"""Max parts that are sent concurrently; the next one is read meanwhile."""

_EXIT_SECONDS: Final = 2.0


class _QueuedPart:
    """A part that is being sent. Its raw bytes are released once its content is built."""

    def __init__(self, number: int, raw: bytes, kept: UploadedPart | None) -> None:
        self.number = number
        self.size = len(raw)
        self.kept = kept
        self.content: PartContent | None = None
        self._raw = raw

    @property
    def out(self) -> int:
        """The approximate number of bytes sent so far."""
        return int(self.size * self.content.sent) if self.content is not None else 0

    def deliver(self, connection: UploadConnection) -> int:
        """Send the part unless the server has the same bytes. Returns the number of raw bytes sent."""
        raw, self._raw = self._raw, b""
        digest = zero_digest(self.size) if raw == zeros(self.size) else sha256(raw).digest()
        if self.kept is not None and (self.kept.size, self.kept.sha256) == (self.size, digest.hex()):
            connection.add_received(self.size)
            return 0
        self.content = part_content(raw, digest)
        del raw
        connection.put(self.number, self.size, self.content)
        return self.size


class PartQueue:
    """The parts of one file. A context manager: on exit, parts that are still being sent end soon, unfinished.

    Its threads are daemons, so a slow server does not delay Ctrl-C.
    """

    def __init__(self, connection: UploadConnection, total: int | None, meter: Meter) -> None:
        """`total` is the size of the file in bytes, None when unknown."""
        self.sent = 0
        self._done = 0
        self._connection = connection
        self._total = total
        self._meter = meter
        self._parts: dict[Future[int], _QueuedPart] = {}

    def add(self, number: int, raw: bytes, kept: UploadedPart | None) -> None:
        """Send a part once fewer than the max are being sent. `kept` is the server's part. Raises errors of earlier parts."""
        self._await(MAX_CONCURRENT - 1)
        part, future = _QueuedPart(number, raw, kept), Future[int]()
        self._parts[future] = part
        threading.Thread(
            target=_deliver, args=(part, self._connection, future), name=f"phimage-upload-{number}", daemon=True
        ).start()

    def finish(self) -> None:
        """Wait until the server has all parts. Raises their errors."""
        self._await(0)
        self._meter.finish(self._done, self._total)

    def __enter__(self) -> PartQueue:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self._connection.stop()
        wait_for(self._parts, _EXIT_SECONDS)

    def _await(self, limit: int) -> None:
        """Wait until at most `limit` parts are being sent."""
        while True:
            ended, _ = wait_for(self._parts, REPORT_SECONDS if len(self._parts) > limit else 0, FIRST_COMPLETED)
            for future in ended:
                self.sent += future.result()
                self._done += self._parts.pop(future).size
            self._meter.update(self._done + sum(part.out for part in self._parts.values()), self._total)
            if len(self._parts) <= limit:
                return


def _deliver(part: _QueuedPart, connection: UploadConnection, future: Future[int]) -> None:
    try:
        future.set_result(part.deliver(connection))
    except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
        future.set_exception(error)
