"""A fetcher for servers on loopback, and bytes to fetch."""

from __future__ import annotations

import hashlib
import json
import random
import ssl
from pathlib import Path

from phimage.sources.address_policy import read_address_policy
from phimage.sources.digest import expected_digest
from phimage.sources.fetch import Fetcher
from phimage.sources.http import HttpClient
from phimage.sources.partial_file import MeasureFree, free_bytes
from phimage.sources.response import HttpTimeouts
from phimage.sources.retry import Retry
from phimage.sources.sniff import FetchLimits

MIB = 1024 * 1024
TLS = ssl.create_default_context()  # reading the system's certificates takes a while
DISK = random.Random(4).randbytes(3 * MIB + 777)
OTHER = random.Random(5).randbytes(3 * MIB + 777)
RIGHT = expected_digest("sha256:" + hashlib.sha256(DISK).hexdigest())


class Fetching:
    """A fetcher for servers on loopback that never sleeps, and its work file."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.waits: list[float] = []

    def fetcher(
        self,
        *,
        timeouts: HttpTimeouts | None = None,
        limits: FetchLimits | None = None,
        retry: Retry | None = None,
        free: MeasureFree = free_bytes,
    ) -> Fetcher:
        web = HttpClient(
            read_address_policy(["127.0.0.0/8", "::1/128"], []),
            timeouts=timeouts or HttpTimeouts(connect=60, head=60, stall=60),
            tls=TLS,
        )
        return Fetcher(web, limits or FetchLimits(min_free=0), retry, sleep=self.waits.append, free=free)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.work.parent.iterdir())

    def record(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.work.with_name("work.resume").read_bytes())
        return found


def chunked(content: bytes, piece: int = 50_000) -> bytes:
    """A body in chunked transfer coding."""
    pieces = (content[place : place + piece] for place in range(0, len(content), piece))
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
