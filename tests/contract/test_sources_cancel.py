"""A cancelled fetch ends at once, wherever it waits."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from phimage.sources.address_policy import read_address_policy, system_resolver
from phimage.sources.digest import FIRST_USE
from phimage.sources.errors import SourceInterrupted
from phimage.sources.fetch import Fetcher
from phimage.sources.http import HttpClient
from phimage.sources.response import HttpTimeouts
from phimage.sources.retry import Retry
from phimage.sources.sniff import FetchLimits
from tests.unit.sources.fetching import MIB, TLS
from tests.unit.sources.server import Exchange, Server, wait_for

AT_ONCE_SECONDS = 60.0
"""Also for a busy machine; what is cancelled waits longer."""
LONG = 180.0


class Name:
    """A name server that is silent until the test ends."""

    def __init__(self) -> None:
        self.asked, self.ended = threading.Event(), threading.Event()

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.set()
        self.ended.wait()
        raise OSError


@contextmanager
def full_queue() -> Iterator[int]:
    """The port of a server that accepts no more connections: connecting to it hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def cancelled(url: str, work: Path, waits: Callable[[], bool], resolve: Callable[[str, int], Sequence[str]]) -> float:
    """The seconds until a fetch ends that was cancelled while it waited."""
    web = HttpClient(
        read_address_policy(["127.0.0.0/8"], []), resolve=resolve, timeouts=HttpTimeouts(LONG, LONG, LONG), tls=TLS
    )
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        fetcher = Fetcher(web, FetchLimits(min_free=0), Retry(first=LONG, max_pause=LONG))
        fetch = pool.submit(fetcher.fetch, url, work, FIRST_USE, cancel=cancel)
        assert wait_for(waits)
        time.sleep(0.05)
        begun = time.monotonic()
        cancel.set()
        with pytest.raises(SourceInterrupted):
            fetch.result()
        return time.monotonic() - begun


def test_while_a_name_is_resolved(tmp_path: Path) -> None:
    name = Name()
    try:
        assert cancelled("http://images.example/disk", tmp_path / "work", name.asked.is_set, name.resolve) < AT_ONCE_SECONDS
    finally:
        name.ended.set()


def test_while_it_connects(tmp_path: Path) -> None:
    with full_queue() as port:
        url = f"http://127.0.0.1:{port}/"
        assert cancelled(url, tmp_path / "work", lambda: True, system_resolver) < AT_ONCE_SECONDS


def test_in_the_middle_of_the_handshake_of_tls(tmp_path: Path) -> None:
    with Server(Exchange.hold, mute=True) as server:
        url = server.url().replace("http://", "https://")
        assert cancelled(url, tmp_path / "work", lambda: server.connections > 0, system_resolver) < AT_ONCE_SECONDS


def hang_in_the_body(exchange: Exchange) -> None:
    exchange.answer(200, bytes(1000), length=MIB)
    exchange.hold()


@pytest.mark.parametrize("handler", [Exchange.hold, hang_in_the_body, lambda exchange: exchange.answer(503)])
def test_before_the_header_in_the_body_and_between_two_tries(tmp_path: Path, handler: Callable[[Exchange], None]) -> None:
    with Server(handler) as server:
        waits = lambda: bool(server.requests)  # noqa: E731
        assert cancelled(server.url(), tmp_path / "work", waits, system_resolver) < AT_ONCE_SECONDS
