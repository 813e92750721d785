"""A file on its way to phimage: read and hashed once, sent in parts, tried again, and gone on with later.

The server says which parts it has, with their digests. So going on needs no notes on this side, and the same bytes may come
from another place, even from a pipe; a part of other bytes is sent anew.
"""

from __future__ import annotations

import time

from msgspec import Struct

from phimage.errors import ClientError
from phimage.sources.digest import FIRST_USE, Digests, ExpectedDigest, Hashes
from phimage.sources.errors import SourceError
from phimage.sources.progress import Clock, Meter, ProgressCallback
from phimage.sources.retry import Retry
from phimage.sources.source import Source
from phimage.upload_client.connection import Connection, OpenUrl
from phimage.upload_client.part_queue import UNDER_WAY, PartQueue


class Sent(Struct, frozen=True):
    """A file that the server has whole. `sent` bytes of it went there now; the others were there before."""

    size: int
    digests: Digests
    sent: int


def upload(
    source: Source,
    open_url: OpenUrl,
    *,
    expected: ExpectedDigest = FIRST_USE,
    tell: ProgressCallback | None = None,
    retry: Retry | None = None,
    clock: Clock = time.monotonic,
) -> Sent:
    """Send a file. Whatever ends it, also Ctrl-C: calling again with the same bytes goes on from there.

    The digests are of all bytes, also of those that were there before. Raises SourceError for what is wrong with the source
    (WrongDigest when its bytes are not the expected ones), SourceBroken when the server was out of reach for too long, and
    ClientError when it refuses. `tell` is called in the caller's thread, and what it raises ends the upload.
    """
    meter = Meter(tell, clock)
    with Connection(open_url, retry or Retry(), UNDER_WAY) as connection, PartQueue(connection, source.size, meter) as queue:
        state = connection.state()
        known = {kept.part: kept for kept in state.parts}
        hashes = Hashes(expected)
        number = 0
        with source.open() as reader:
            while raw := reader.read(state.part_size):
                hashes.update(raw)
                queue.add(number, raw, known.get(number))
                number += 1
                del raw  # before the next one is read
        if not number:
            raise SourceError(source.name, "it is empty", "give the file of an image", reason="empty")
        queue.finish()
        expected.check(source.name, hashes.digests(), hashes.size)
        if max(known, default=0) >= number:
            raise ClientError("the server has parts of a longer file in this upload; begin a new one for this file")
        return Sent(hashes.size, hashes.digests(), queue.sent)
