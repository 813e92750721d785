"""Sends files as bodies of responses: by the kernel from the file to the socket, or with TLS from pieces that threads read."""

from __future__ import annotations

import os
import select
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from phimage.processes.http1 import HttpConnection

_THREADS = 4
_TURN_BYTES = 16 << 20
"""Bytes after which a thread serves another file."""
_FAST_READER_MILLISECONDS = 5
"""A client that reads on within this time keeps its thread: the way through the event loop takes longer."""
_PIECE_BYTES = 256 << 10


# docs/decisions.md#threads-call-sendfile
class FileSender:
    """Sends files for all connections of a worker. Used on its event loop; threads wait for the disk."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="send-file")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def opened(self, path: str) -> BinaryIO:
        """Open a file. Raises OSError."""
        return Path(path).open("rb")

    async def send(self, connection: HttpConnection, head: bytes, file: BinaryIO, size: int) -> int:
        """Send a header and then the first bytes of a file. Returns their number, which is smaller when the client leaves."""
        if connection.is_encrypted:
            return await self._send_pieces(connection, head, file, size)
        connection.transport.set_write_buffer_limits(high=0)  # `written` then waits until nothing is left in the transport
        try:
            connection.transport.write(head)
            await connection.written()
            if connection.is_lost:
                return 0
            # The event loop lets nobody else wait for its own descriptor, so another one of the same socket waits.
            out = os.dup(connection.transport.get_extra_info("socket").fileno())
            try:
                return await self._send_by_kernel(connection, out, file.fileno(), size)
            finally:
                os.close(out)
        finally:
            if not connection.transport.is_closing():
                connection.transport.set_write_buffer_limits()

    async def _send_by_kernel(self, connection: HttpConnection, out: int, file: int, size: int) -> int:
        sent = 0
        while sent < size and not connection.transport.is_closing():
            step, is_over = await connection.loop.run_in_executor(self._threads, _send_some, out, file, sent, size - sent)
            sent += step
            if is_over:
                break
            if sent < size and not connection.is_lost:
                await _writable(connection, out)
        return sent

    async def _send_pieces(self, connection: HttpConnection, head: bytes, file: BinaryIO, size: int) -> int:
        connection.transport.write(head)
        sent = 0
        while sent < size and not connection.transport.is_closing():
            length = min(_PIECE_BYTES, size - sent)
            piece = await connection.loop.run_in_executor(self._threads, os.pread, file.fileno(), length, sent)
            if not piece:
                break
            connection.transport.write(piece)
            await connection.written()
            sent += len(piece)
        return sent


def _send_some(out: int, file: int, offset: int, size: int) -> tuple[int, bool]:
    """Send until the socket takes no more. Returns the bytes sent, and whether the client has left or the file is shorter."""
    writable = select.poll()
    writable.register(out, select.POLLOUT)
    sent = 0
    size = min(size, _TURN_BYTES)
    try:
        while sent < size:
            try:
                step = os.sendfile(out, file, offset + sent, size - sent)
            except BlockingIOError:
                if not writable.poll(_FAST_READER_MILLISECONDS):
                    break
                continue
            if step == 0:
                return sent, True
            sent += step
    except OSError:
        return sent, True
    return sent, False


async def _writable(connection: HttpConnection, out: int) -> None:
    """Wait until the client reads on, or is gone."""
    connection.pause_writing()
    connection.loop.add_writer(out, connection.resume_writing)
    try:
        await connection.written()
    finally:
        connection.loop.remove_writer(out)
