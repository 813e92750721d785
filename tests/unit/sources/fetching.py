"""A fetcher for servers on loopback, and bytes to fetch."""

from __future__ import annotations

import hashlib
import json
import random
import ssl
from pathlib import Path

from phimage.sources.answer import Times
from phimage.sources.digest import given
from phimage.sources.fetch import Fetcher
from phimage.sources.judge import Limits
from phimage.sources.policy import read_policy
from phimage.sources.retry import Retry
from phimage.sources.space import Free, free_bytes
from phimage.sources.web import Web

MIB = 1024 * 1024
TLS = ssl.create_default_context()  # reading the system's certificates takes a while
DISK = random.Random(4).randbytes(3 * MIB + 777)
OTHER = random.Random(5).randbytes(3 * MIB + 777)
RIGHT = given("sha256:" + hashlib.sha256(DISK).hexdigest())


class Fetching:
    """A fetcher for servers on loopback, which waits for nothing, and its work file."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.waits: list[float] = []

    def fetcher(
        self, *, times: Times | None = None, limits: Limits | None = None, retry: Retry | None = None, free: Free = free_bytes
    ) -> Fetcher:
        web = Web(read_policy(["127.0.0.0/8", "::1/128"], []), times=times or Times(connect=5, head=5, stall=5), tls=TLS)
        return Fetcher(web, limits or Limits(reserve=0), retry, sleep=self.waits.append, free=free)

    def left(self) -> list[str]:
        return sorted(path.name for path in self.work.parent.iterdir())

    def record(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.work.with_name("work.resume").read_bytes())
        return found


def chunked(content: bytes, piece: int = 50_000) -> bytes:
    """A body in chunks."""
    pieces = (content[place : place + piece] for place in range(0, len(content), piece))
    return b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
