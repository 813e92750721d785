"""The response to one request of a browser: a page, an error that is a page too, or another address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from phimage.console.address import Address, read_address
from phimage.console.headers import COOKIE_SECONDS
from phimage.console.navigation import navigation
from phimage.console.rendering import render
from phimage.console.routes import Route
from phimage.console.session import ConsoleSession
from phimage.console.texts import LANGUAGES, Texts
from phimage.console.visit import ActionRefused, PageContent, Visit
from phimage.errors import NotPermitted, RateLimited, ServiceUnavailable, UnavailableParam
from phimage.http.asgi import Exchange
from phimage.http.response import gzipped

THEMES = ("light", "dark", "system")
LANGUAGE_COOKIE = "phimage-language"
THEME_COOKIE = "phimage-theme"
# An id that does not exist, or that this session may not see, is an unavailable parameter.
_STATUS = {
    UnavailableParam.ret_code: 404,
    NotPermitted.ret_code: 403,
    RateLimited.ret_code: 429,
    ServiceUnavailable.ret_code: 503,
}
"""The status of the page of a refused Action, by its RetCode; 400 for all others."""


class PageReply:
    """The response to one request, in the language and the theme of its reader."""

    def __init__(
        self, exchange: Exchange, address: Address, text: Texts, theme: str, fields: Mapping[str, str], done: str = ""
    ) -> None:
        """`done` is the name of the change that was carried out just now."""
        self.exchange = exchange
        self.address = address
        self.text = text
        self.theme = theme
        self.fields = fields
        self._done = done

    async def show(self, content: PageContent, visit: Visit, route: Route | None) -> None:
        """Send the content of a page, or send the browser on."""
        if content.location:
            await self.redirect(content.location, content.fields)
            return
        if content.json is not None:
            await self.send_json(content.status, content.json, content.fields)
            return
        values = {
            **self._values(visit.session, route),
            "revision": visit.revision,
            "age": visit.age,
            "now": int(visit.now),
            **content.values,
        }
        await self._send(content.status, content.template, values, content.fields)

    async def show_signed_out(self, content: PageContent) -> None:
        """Send a page to somebody who may not be signed in."""
        values = {**self._values(None, None), **content.values}
        await self._send(content.status, content.template, values, content.fields)

    async def show_refusal(self, visit: Visit, route: Route, refused: ActionRefused) -> None:
        """Send the page of a refused Action."""
        status = _STATUS.get(refused.ret_code, 400)
        values = {**self._values(visit.session, route), "refused": refused, "kind": "refused", "request_id": refused.request_id}
        await self._send(status, "error.html", values)

    async def show_error(self, session: ConsoleSession | None, status: int, kind: str, request_id: str) -> None:
        """Send the page of an error of the console itself."""
        values = {**self._values(session, None), "kind": kind, "refused": None, "request_id": request_id}
        await self._send(status, "error.html", values)

    async def redirect(self, location: str, fields: Mapping[str, str] | None = None) -> None:
        """Send the browser to another address; a part of a page that htmx asked for, with its whole page."""
        if "hx-request" in self.fields:
            await self.exchange.start(204, {"HX-Redirect": location, **(fields or {})})
            await self.exchange.end()
            return
        await self.exchange.start(303, {"Location": location, "Content-Length": "0", **(fields or {})})
        await self.exchange.end()

    def _values(self, session: ConsoleSession | None, route: Route | None) -> dict[str, object]:
        """The values of the frame around every page."""
        return {
            "t": self.text,
            "theme": self.theme,
            "other_language": next(language for language in LANGUAGES if language != self.text.language),
            "address": self.address,
            "session": session,
            "navigation": navigation(session, self.address) if session else (),
            "route": route,
            "area": "",
            "revision": None,
            "age": None,
            "as_of": 0,
            "done": self._done,
        }

    async def _send(
        self, status: int, template: str, values: Mapping[str, Any], fields: Mapping[str, str] | None = None
    ) -> None:
        body = await render(template, values)
        packed = gzipped(body, self.fields.get("accept-encoding", "").encode("latin-1"))
        header = {"Content-Type": "text/html; charset=utf-8", "Content-Language": self.text.language, **(fields or {})}
        query = read_address("", self.exchange.query)
        for name, cookie, known in (("lang", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
            if query.get(name) in known:
                header["Set-Cookie"] = (
                    f"{cookie}={query.get(name)}; Path={self.address.root}; Max-Age={COOKIE_SECONDS}; SameSite=Lax"
                )
        if packed is not None:
            header |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            body = packed
        await self.exchange.start(status, {**header, "Content-Length": str(len(body))})
        await self.exchange.end(b"" if self.exchange.method == "HEAD" else body)

    async def send_json(self, status: int, values: Mapping[str, object], fields: Mapping[str, str] | None = None) -> None:
        """Send an answer to a script of a page."""
        body = msgspec.json.encode(values)
        header = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(fields or {})}
        await self.exchange.start(status, header)
        await self.exchange.end(body)
