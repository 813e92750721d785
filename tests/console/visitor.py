"""A person at the console without a browser: cookies, forms and their tokens, over HTTP."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Page

from phimage import demo_disk
from phimage.application import build_app
from phimage.catalog.accounts import NewKey
from phimage.client import Client
from phimage.console.nonces import prove
from phimage.http.asgi import Application, Message, Receive, Send
from phimage.settings import Settings
from tests.console.site import served

SECONDS = 60
OWN_PAGE = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
"""What Chromium sends with a form of a page that has no referrer."""


class Visitor:
    """A browser without scripts. `base` is the address of the server."""

    def __init__(self, base: str, **headers: str) -> None:
        self.base = base
        self.http = requests.Session()
        self.http.headers.update(headers)

    @property
    def cookie(self) -> tuple[str, str]:
        """Name and value of the cookie of the session."""
        ((name, value),) = self.http.cookies.get_dict().items()
        return name, value

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.http.get(f"{self.base}{path}", headers=headers, allow_redirects=False, timeout=SECONDS)

    def post(self, path: str, form: Any, headers: dict[str, str] | None = None, **more: Any) -> requests.Response:
        """Send a form, by default as a page of the console does."""
        sent = OWN_PAGE if headers is None else headers
        return self.http.post(f"{self.base}{path}", data=form, headers=sent, allow_redirects=False, timeout=SECONDS, **more)

    def post_json(self, path: str, values: dict[str, Any], headers: dict[str, str] | None = None) -> requests.Response:
        """Send what a script of the sign-in page sends."""
        sent = OWN_PAGE if headers is None else headers
        return self.http.post(f"{self.base}{path}", json=values, headers=sent, allow_redirects=False, timeout=SECONDS)

    def use_code(self, code: str, *, instead: bool = False) -> requests.Response:
        return self.post_json("/console/login/code", {"Code": code, "Instead": instead})

    def use_key(self, key: NewKey) -> requests.Response:
        nonce = self.post_json("/console/login/nonce", {}).json()["Nonce"]
        proof = prove(key.private, key.public, nonce)
        return self.post_json("/console/login/key", {"PublicKey": key.public, "Nonce": nonce, "Proof": proof})

    @property
    def token(self) -> str:
        """The token of the session, from the form that signs out."""
        return hidden(self.get("/console/").text)["_token"]

    def look(self, name: str, **form: Any) -> requests.Response:
        """Send the form of a change; the answer shows its dry run."""
        return self.post(f"/console/changes/{name}", {"_token": self.token, "_back": "/console/accounts", **form})

    def carry_out(self, name: str, typed: str = "", **form: Any) -> requests.Response:
        """Send the form of a change, and confirm it."""
        shown = self.look(name, **form)
        assert shown.status_code == 200, shown.text
        return self.confirm(name, shown, typed)

    def confirm(self, name: str, shown: requests.Response, typed: str = "") -> requests.Response:
        """Confirm the change that an answer shows."""
        fields = list(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', main(shown.text)))
        form = [(unescape(field), unescape(value)) for field, value in fields]
        return self.post(f"/console/changes/{name}", [*form, ("_step", "go"), ("_typed", typed)])


def main(page: str) -> str:
    """The content of a page without its frame."""
    return page.partition("<main")[2].partition("</main>")[0]


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page."""
    return {
        unescape(name): unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page)
    }


class Console:
    """A served console with real sessions, and the keys of two people."""

    def __init__(self, url: str, settings: Settings, operator: NewKey, tenant: NewKey) -> None:
        self.url = url
        self.settings = settings
        self.operator = operator
        self.tenant = tenant

    def client(self, key: NewKey | None = None) -> Client:
        """A client of the API, of the operator unless it is another's."""
        chosen = key or self.operator
        return Client(self.url, chosen.public, chosen.private)

    def link(self, key: NewKey | None = None) -> str:
        """A link that signs in once."""
        with self.client(key) as client:
            return str(client.call("CreateConsoleLogin").fields["LoginUrl"])

    def visitor(self, key: NewKey | None = None) -> Visitor:
        """Somebody who is signed in."""
        found = Visitor(self.url)
        answer = found.use_code(self.link(key).partition("#")[2])
        assert answer.status_code == 200, answer.text
        return found


class Gate:
    """Stands before an application: counts the parts of uploads that it stores, and holds others back while it is shut."""

    def __init__(self) -> None:
        self.application: Application | None = None
        self.stored: Counter[int] = Counter()
        self.open_for = 1 << 30
        self.held = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        assert self.application is not None
        if not (scope["type"] == "http" and scope["method"] == "PUT" and scope["path"].startswith("/uploads/")):
            await self.application(scope, receive, send)
            return
        self.open_for -= 1
        if self.open_for < 0:
            self.held += 1
            while self.open_for < 0:  # noqa: ASYNC110  another thread opens it
                await asyncio.sleep(0.02)
        number = int(scope["path"].rpartition("/")[2])

        async def counting(message: Message) -> None:
            if message.get("status") == 201:
                self.stored[number] += 1
            await send(message)

        await self.application(scope, receive, counting)


@contextmanager
def console(settings: Settings, operator: NewKey, tenant: NewKey, gate: Gate | None = None) -> Iterator[Console]:
    """A console on a filled data folder, as a server has it."""

    def build() -> Application:
        application = build_app(settings, lambda: None, propagation_seconds=0.0)
        if gate is None:
            return application
        gate.application = application
        return gate

    with served(build) as url:
        yield Console(url, settings, operator, tenant)


def revision(client: Client) -> int:
    """The newest revision."""
    newest: int = client.call("ListRevisions", Limit=1).fields["Newest"]
    return newest


def wait_until(is_so: Callable[[], bool], page: Page, seconds: float = SECONDS) -> None:
    """Wait for something that a page must do."""
    ends = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends
        page.wait_for_timeout(50)


def write_disk(path: Path, content: bytes) -> Path:
    """A file that is a raw disk: the demonstration's, with more behind it."""
    path.write_bytes(demo_disk.make_disk() + content)
    return path
