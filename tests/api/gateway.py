"""The gateway in this process: the real ASGI application on a data folder, driven by raw bytes, without a network.

Every answer is checked for what must hold of all of them (wire-protocol 1.2), so that each test shows it again.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from phimage.actions import registry
from phimage.application import Foundation, build_app, prime_decoders
from phimage.catalog.views import View
from phimage.chunks.factory import open_store
from phimage.gateway.app import App
from phimage.gateway.dispatch import RawRequest
from phimage.http.freshness import STALE_SECONDS
from phimage.installation import open_catalog
from phimage.settings import Settings
from tests.api.signer import DEMO, Encoding, Pair, Params, Request, signed, signed_2
from tests.delivering import Answered, answered

ANSWER_SECONDS = 60
"""A loaded machine is no failure."""
LOOPBACK = "127.0.0.1"
REVISION = "x-phimage-revision"

NEED_VERSION_2 = frozenset(action.name for action in registry() if action.needs_version_2)
"""Actions that clients of UCloud do not call."""

PAGES = ("/healthz", "/openapi.json")
"""What a GET gets as a document, not as the answer of an Action."""


class Reply(Struct, frozen=True):
    """An answer as it came over the wire. `is_known`: the server sent it without asking the application."""

    status: int
    headers: dict[str, str]
    content: bytes
    is_known: bool = False

    @property
    def body(self) -> bytes:
        """The JSON, unpacked if it was packed."""
        return gzip.decompress(self.content) if self.headers.get("content-encoding") == "gzip" else self.content

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object. A number with a point or an exponent is a Decimal, so that it cannot pass for an integer."""
        return strict_object(self.body)

    @property
    def ret_code(self) -> int:
        found: int = self.fields["RetCode"]
        return found

    @property
    def message(self) -> str:
        found: str = self.fields["Message"]
        return found

    @property
    def total(self) -> int:
        """TotalCount of a list of images."""
        found: int = self.fields["TotalCount"]
        return found

    @property
    def images(self) -> list[dict[str, Any]]:
        """ImageSet of a list of images."""
        found: list[dict[str, Any]] = self.fields["ImageSet"]
        return found

    @property
    def ids(self) -> list[str]:
        """The images of a list, in its order."""
        return [image["ImageId"] for image in self.images]


def strict_object(body: bytes) -> dict[str, Any]:
    """A JSON object, read as strictly as the strictest client reads it. Raises ValueError."""
    found = json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _refuse(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


class Gateway:
    """A running gateway."""

    def __init__(self, app: App[View], runner: asyncio.Runner) -> None:
        self._app = app
        self._runner = runner

    def send(
        self,
        method: str = "POST",
        path: str = "/",
        query: str | bytes = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        client: str = LOOPBACK,
        pieces: int = 1,
    ) -> Reply:
        """The answer to a request, which comes from an address and in so many pieces."""
        request = Request(method, path, query if isinstance(query, str) else query.decode("latin-1"), tuple(headers), body)
        scope = _scope(request, client)
        reply = self._runner.run(self._exchange(scope, _pieces(body, pieces)))
        if method != "GET" or path not in PAGES:
            _check_answer(reply)
        return reply

    def replay(self, request: Request, *, client: str = LOOPBACK) -> Reply:
        """The answer to a request that was made before."""
        return self.send(*request, client=client)

    def ask(
        self,
        action: str,
        params: Params | None = None,
        *,
        encoding: Encoding = Encoding.FORM,
        pair: Pair = DEMO,
        path: str = "/",
        client: str = LOOPBACK,
    ) -> Reply:
        """The answer to a signed request, as the Action's usual clients sign it."""
        sign = signed_2 if action in NEED_VERSION_2 else signed
        return self.replay(sign(action, params, encoding, pair, path), client=client)

    def fetch(
        self,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        client: str = LOOPBACK,
        meanwhile: Callable[[], object] = bool,
    ) -> Answered:
        """The answer of what is beside the Actions: the bytes of an image, or a part of an upload.

        `meanwhile` happens after the first bytes of the answer, before the client takes more.
        """
        parts = urlsplit(url)
        scope = _scope(Request(method, parts.path, parts.query, tuple(headers), body), client)
        sent: list[Any] = []
        self._runner.run(self._fetch(scope, body, sent, meanwhile))
        return answered(sent)

    def enter(self, request: RawRequest) -> dict[str, Any]:
        """The fields of the answer to a request from inside the process."""
        response, _age = self._runner.run(self._app.answer(request))
        return strict_object(response.body)

    def learn(self, revision: int) -> None:
        """Wait until the gateway knows of a revision that another process wrote."""
        ends = time.monotonic() + ANSWER_SECONDS
        while int(self.ask("GetRegion").headers[REVISION]) < revision:
            assert time.monotonic() < ends, "the gateway did not learn of a revision in time"
            self._runner.run(asyncio.sleep(0.02))

    async def _fetch(self, scope: dict[str, Any], body: bytes, sent: list[Any], meanwhile: Callable[[], object]) -> None:
        """Returns nothing: `Runner.run` formats a task's result as text and drops it, which takes long for a disk."""
        pieces = [{"type": "http.request", "body": body, "more_body": False}]
        never = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not pieces:
                await never.wait()
            return pieces.pop()

        async def send(message: Any) -> None:
            sent.append(dict(message))
            if len(sent) == 2:
                await asyncio.to_thread(meanwhile)

        await asyncio.wait_for(self._app(scope, receive, send), ANSWER_SECONDS)

    def together(self, *requests: tuple[str, Params, Pair]) -> list[Reply]:
        """The answers to signed requests that are under way at the same time."""

        async def all_of_them() -> list[Reply]:
            return await asyncio.gather(*(self._exchange(_scope(request, LOOPBACK), [request.body]) for request in whole))

        whole = [signed_2(action, params, Encoding.FLAT, pair, query=f"Action={action}") for action, params, pair in requests]
        return self._runner.run(all_of_them())

    async def _exchange(self, scope: dict[str, Any], pieces: list[bytes]) -> Reply:
        """As the server does: a whole request may have a known response, and the application gets the others."""
        if len(pieces) == 1 and (known := self._app.known_response(scope, pieces[0])) is not None:
            lines = [line.partition(b": ") for line in known.header.split(b"\r\n")[:-1]]
            fields = [(name, value) for name, _, value in lines]
            start = {"type": "http.response.start", "status": 200, "headers": fields}
            return replace(_reply([start, {"type": "http.response.body", "body": known.body}]), is_known=True)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if pieces:
                return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        await asyncio.wait_for(self._app(scope, receive, send), ANSWER_SECONDS)
        return _reply(sent)


def _scope(request: Request, client: str) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": request.method,
        "path": request.path,
        "raw_path": request.path.encode("utf-8", "surrogateescape"),
        "query_string": request.query.encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in request.headers],
        "client": (client, 50_000),
        "server": (LOOPBACK, 80),
    }


def _pieces(body: bytes, count: int) -> list[bytes]:
    size = max(1, -(-len(body) // count))
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]


def _reply(sent: list[dict[str, Any]]) -> Reply:
    """What was sent, if it is what every answer must be."""
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    start, body = sent[0], sent[1].get("body", b"")
    assert not sent[1].get("more_body", False)
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in start["headers"]}
    assert len(headers) == len(start["headers"]), "a header comes twice"
    assert all(name == name.lower() for name in headers), "ASGI wants lower case"
    assert headers["content-length"] == str(len(body))
    assert headers["content-type"] in ("application/json", "application/json; charset=utf-8")
    assert uuid.UUID(headers["x-ucloud-request-uuid"]).version == 4
    assert "location" not in headers
    reply = Reply(start["status"], headers, body)
    assert reply.body.startswith(b"{"), "an object, without a BOM"
    reply.fields  # noqa: B018 - raises if it is not JSON
    return reply


def _check_answer(reply: Reply) -> None:
    """What every answer of an Action must be, good or bad."""
    fields = reply.fields
    code = fields["RetCode"]
    assert type(code) is int
    assert 0 <= code < 2000, "clients repeat what has a larger RetCode"
    assert reply.status == 200 or (reply.status == 405 and code == 160)
    if code == 0:
        assert fields["Action"].endswith("Response")
    else:
        assert isinstance(fields["Message"], str)
        assert fields["Message"]
        assert "an error inside phimage" not in fields.get("Detail", ""), reply.body


@contextmanager
def running(
    settings: Settings, *, alone: bool = True, watching: bool = True, now: Callable[[], float] = time.time
) -> Iterator[Gateway]:
    """A gateway on a filled data folder, from its start to its end. If it is alone, no other has to learn of what it tells.

    One that is not `watching` the database must be the only writer; its knowledge does not grow old between two requests.
    """
    prime_decoders()
    app = build_app(
        settings,
        foundation=Foundation(open_catalog(settings), open_store(settings.store_place), now, is_alone=not watching),
        started=lambda: None,
        propagation_seconds=0.0 if alone else STALE_SECONDS,
        patience_seconds=ANSWER_SECONDS,
    )
    with asyncio.Runner() as runner:
        events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        done: asyncio.Queue[Any] = asyncio.Queue()
        life = runner.run(_start(app, events, done))
        try:
            yield Gateway(app, runner)
        finally:
            runner.run(_stop(life, events, done))


async def _start(app: App[View], events: asyncio.Queue[dict[str, str]], done: asyncio.Queue[Any]) -> asyncio.Task[None]:
    life = asyncio.create_task(app({"type": "lifespan"}, events.get, done.put))
    await events.put({"type": "lifespan.startup"})
    assert await done.get() == {"type": "lifespan.startup.complete"}
    return life


async def _stop(life: asyncio.Task[None], events: asyncio.Queue[dict[str, str]], done: asyncio.Queue[Any]) -> None:
    await events.put({"type": "lifespan.shutdown"})
    assert await done.get() == {"type": "lifespan.shutdown.complete"}
    await life


def settings_for(folder: Path, **given: Any) -> Settings:
    """Settings of a gateway on a data folder."""
    return Settings(data_dir=str(folder), **given)
