"""The console as an ASGI application. The steps of a request, in `Console.__call__`:

1. static files: style sheet, scripts and icons, for everyone
2. route: the page of the path and the method, else 404 and 405
3. session: by its cookie; without one the browser is sent to sign in
4. page: it calls Actions through the gateway, with the key of the session in place of a signature
5. response: the page in the language of the person; an error is a page too
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie

from phimage.console.address import ROOT, Address, href, read_address
from phimage.console.headers import COOKIE_SECONDS, PAGE_FIELDS, STATIC_FIELDS
from phimage.console.navigation import navigation
from phimage.console.rendering import render
from phimage.console.routes import Route, find_route
from phimage.console.session import Session, Sessions
from phimage.console.static_files import PREFIX, find_static
from phimage.console.texts import LANGUAGES, Texts, choose_language, texts_of
from phimage.console.visit import ActionRefused, Content, Enter, Visit
from phimage.event_log import log
from phimage.http.asgi import Exchange, Message, Receive, Send
from phimage.http.proxies import TrustedProxies
from phimage.http.response import gzipped

LOGIN = f"{ROOT}login"
THEMES = ("light", "dark", "system")
LANGUAGE_COOKIE = "phimage-language"
THEME_COOKIE = "phimage-theme"
_ABSENT = 230
"""RetCode of an id that does not exist, or that this session may not see."""
_STATUS = {_ABSENT: 404, 299: 403}


class Console:
    """The ASGI application for the paths below `/console/`."""

    def __init__(
        self,
        enter: Enter,
        sessions: Sessions,
        proxies: TrustedProxies,
        new_request_id: Callable[[], str],
        clock: Callable[[], float] = time.time,
        health: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`enter` answers requests of sessions, and `health` says what is away; see `Visit`."""
        self._enter = enter
        self._sessions = sessions
        self._proxies = proxies
        self._new_request_id = new_request_id
        self._clock = clock
        self._health = health

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"].startswith(PREFIX):
            await _send_static(Exchange(scope, receive, send, self._new_request_id(), STATIC_FIELDS))
            return
        exchange = Exchange(scope, receive, send, self._new_request_id(), PAGE_FIELDS)
        fields = exchange.header_fields()
        cookies = read_cookies(fields.get("cookie", ""))
        address = read_address(scope["path"], exchange.query)
        text = texts_of(
            choose_language(address.get("lang"), cookies.get(LANGUAGE_COOKIE, ""), fields.get("accept-language", ""))
        )
        theme = next((wish for wish in (address.get("theme"), cookies.get(THEME_COOKIE)) if wish in THEMES), "system")
        address = Address(
            address.path, {name: value for name, value in address.params.items() if name not in ("lang", "theme")}
        )
        page = _Page(exchange, address, text, theme, fields)
        try:
            await self._answer(page, cookies)
        except Exception as error:  # noqa: BLE001 - every request gets a page
            log.exception("console.failed", error, path=scope["path"], request_id=exchange.request_id)
            await page.show_error(None, 500, "defect", exchange.request_id)

    async def _answer(self, page: _Page, cookies: Mapping[str, str]) -> None:
        exchange, address = page.exchange, page.address
        found = find_route(address.path)
        session = await self._sessions.find(cookies)
        if found is None:
            await page.show_error(session, 404, "absent", exchange.request_id)
            return
        route, arguments = found
        if exchange.method not in ("GET", "HEAD"):
            await page.show_error(session, 405, "method", exchange.request_id)
            return
        if session is None:
            await page.redirect(href(LOGIN, {"next": address.href()}))
            return
        visit = Visit(
            session,
            address,
            page.text,
            self._enter,
            client_address=self._proxies.client_address(exchange.scope),
            base_url=lambda: self._proxies.base_url(exchange.scope),
            new_request_id=self._new_request_id,
            now=self._clock(),
            health=self._health,
        )
        try:
            content = await route.show(visit, **arguments)
        except ActionRefused as refused:
            await page.show_refusal(visit, route, refused)
            return
        await page.show(content, visit, route)


class _Page:
    """The response to one request, in the language and the theme of its reader."""

    def __init__(self, exchange: Exchange, address: Address, text: Texts, theme: str, fields: Mapping[str, str]) -> None:
        self.exchange = exchange
        self.address = address
        self.text = text
        self.theme = theme
        self._fields = fields

    async def show(self, content: Content, visit: Visit, route: Route | None) -> None:
        """Send the content of a page, or send the browser on."""
        if content.location:
            await self.redirect(content.location, content.fields)
            return
        values = {
            **self._values(visit.session, route),
            "revision": visit.revision,
            "age": visit.age,
            "now": int(visit.now),
            **content.values,
        }
        await self._send(content.status, render(content.template, values), content.fields)

    async def show_refusal(self, visit: Visit, route: Route, refused: ActionRefused) -> None:
        """Send the page of a refused Action."""
        status = _STATUS.get(refused.ret_code, 503 if refused.ret_code in (500, 510) else 400)
        values = {**self._values(visit.session, route), "refused": refused, "kind": "refused", "request_id": refused.request_id}
        await self._send(status, render("error.html", values))

    async def show_error(self, session: Session | None, status: int, kind: str, request_id: str) -> None:
        """Send the page of an error of the console itself."""
        values = {**self._values(session, None), "kind": kind, "refused": None, "request_id": request_id}
        await self._send(status, render("error.html", values))

    async def redirect(self, location: str, fields: Mapping[str, str] | None = None) -> None:
        """Send the browser to another address."""
        await self.exchange.start(303, {"Location": location, "Content-Length": "0", **(fields or {})})
        await self.exchange.end()

    def _values(self, session: Session | None, route: Route | None) -> dict[str, object]:
        """The values of the frame around every page."""
        return {
            "t": self.text,
            "theme": self.theme,
            "other_language": next(language for language in LANGUAGES if language != self.text.language),
            "address": self.address,
            "session": session,
            "navigation": navigation(session, self.address) if session else (),
            "route": route,
            "revision": None,
            "age": None,
        }

    async def _send(self, status: int, body: bytes, fields: Mapping[str, str] | None = None) -> None:
        header = {"Content-Type": "text/html; charset=utf-8", "Content-Language": self.text.language, **(fields or {})}
        query = read_address("", self.exchange.query)
        for name, cookie, known in (("lang", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
            if query.get(name) in known:
                header["Set-Cookie"] = f"{cookie}={query.get(name)}; Path={ROOT}; Max-Age={COOKIE_SECONDS}; SameSite=Lax"
        if (packed := gzipped(body, self._fields.get("accept-encoding", "").encode("latin-1"))) is not None:
            header |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            body = packed
        await self.exchange.start(status, {**header, "Content-Length": str(len(body))})
        await self.exchange.end(b"" if self.exchange.method == "HEAD" else body)


def read_cookies(field: str) -> dict[str, str]:
    """The cookies of a request; none if the field cannot be read."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(field).items()}
    except CookieError:
        return {}


async def _send_static(exchange: Exchange) -> None:
    found = find_static(exchange.scope["path"])
    if found is None or exchange.method not in ("GET", "HEAD"):
        await exchange.start(404, {"Content-Type": "text/plain", "Content-Length": "0"})
        await exchange.end()
        return
    file, is_exact = found
    header = {
        "Content-Type": file.media_type,
        "Cache-Control": "public, max-age=31536000, immutable" if is_exact else "no-cache",
    }
    body = file.content
    if file.packed and "gzip" in exchange.header_fields().get("accept-encoding", ""):
        body, header = file.packed, {**header, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    await exchange.start(200, {**header, "Content-Length": str(len(body))})
    await exchange.end(b"" if exchange.method == "HEAD" else body)
