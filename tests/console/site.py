"""The console in this process: the real application behind the real HTTP server on a port, over a filled data folder."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

from msgspec import Struct

from phimage.application import build_app
from phimage.catalog.accounts import NewKey
from phimage.client import Client
from phimage.console.browser_origin import BrowserOrigin
from phimage.console.session import ConsoleSession
from phimage.http.asgi import Application
from phimage.processes import http_server
from phimage.processes.http_server import HttpServer, lifespan
from phimage.settings import Settings

START_SECONDS = 60
COOKIE = "phimage"


class KnownSessions:
    """Sessions that a test has opened, by the value of the cookie."""

    def __init__(self) -> None:
        self.by_cookie: dict[str, ConsoleSession] = {}

    async def find(self, cookies: Mapping[str, str], origin: BrowserOrigin) -> ConsoleSession | None:
        return self.by_cookie.get(cookies.get(COOKIE, ""))


class PageResponse(Struct):
    """A response of the console."""

    status: int
    headers: dict[str, str]
    text: str


class ConsoleSite:
    """A served console. `url` is its address without a path."""

    def __init__(self, url: str, sessions: KnownSessions, settings: Settings) -> None:
        self.url = url
        self.sessions = sessions
        self.settings = settings
        self.keys: dict[str, NewKey] = {}

    def get(self, path: str, who: str = "", method: str = "GET", **headers: str) -> PageResponse:
        """The response to a request, by the session of `who`; redirects are not followed."""
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=START_SECONDS)
        connection.request(method, path, headers={"Cookie": f"{COOKIE}={who}", **headers})
        response = connection.getresponse()
        found = PageResponse(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode()
        )
        connection.close()
        return found

    def client(self, who: str) -> Client:
        """A client of the API with the key of somebody."""
        key = self.keys[who]
        return Client(self.url, key.public, key.private)


@contextmanager
def serving(settings: Settings, **options: Any) -> Iterator[ConsoleSite]:
    """A server on a prepared data folder, in a thread of this process."""
    sessions = KnownSessions()
    with served(lambda: build_app(settings, lambda: None, propagation_seconds=0.0, sessions=sessions, **options)) as url:
        yield ConsoleSite(url, sessions, settings)


@contextmanager
def served(build: Callable[[], Application]) -> Iterator[str]:
    """An application behind the HTTP server, in a thread with an event loop of its own; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_ready, ends = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    async def serve() -> None:
        application = build()
        server = HttpServer(application)
        async with lifespan(application):
            server.start(listener)
            is_ready.set()
            await asyncio.to_thread(ends.wait)
            await server.stop(5.0)

    def run() -> None:
        try:
            http_server.run(serve())
        except BaseException as error:  # noqa: BLE001 - the test must see it
            failures.append(error)
        finally:
            is_ready.set()

    thread = threading.Thread(target=run, name="console-site")
    thread.start()
    try:
        assert is_ready.wait(START_SECONDS)
        if failures:
            raise failures[0]
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ends.set()
        thread.join()
        listener.close()
    if failures:
        raise failures[0]
