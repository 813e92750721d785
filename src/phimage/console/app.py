"""The console as an ASGI application. The steps of a request, in `Console.__call__`:

1. static files: style sheet, scripts and icons, for everyone
2. origin: over TLS, or on loopback and past no proxy that is not trusted; a POST must be sent by a page of the same origin
3. session: by its cookie; without one the browser is sent to sign in (`sign_in.py`)
4. route: the page of the path and the method, else 404 and 405; a sub-user is sent on to a project if the address names none;
   a POST must have the token of the session
5. page: it calls Actions through the gateway, with the key of the session in place of a signature
6. response: the page in the language of the person; an error is a page too
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping

from phimage.catalog.accounts import NONCE_SECONDS
from phimage.catalog.views import Catalog
from phimage.console.address import Address, read_address
from phimage.console.browser_origin import browser_origin, inner_address
from phimage.console.catalog_sessions import CatalogSessions
from phimage.console.change_kinds import KINDS
from phimage.console.form import (
    MAX_FORM,
    NO_FORM,
    TOKEN,
    TOKEN_FIELD,
    PageError,
    check_own_request,
    check_token,
    read_body,
    read_form,
)
from phimage.console.headers import PAGE_FIELDS, STATIC_FIELDS
from phimage.console.nonces import Nonces
from phimage.console.reply import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, PageReply
from phimage.console.routes import find_route
from phimage.console.session import Sessions
from phimage.console.sign_in import LOGIN, SIGN_IN_PREFIXES, SignIn
from phimage.console.static_files import PREFIX, find_static
from phimage.console.texts import choose_language, texts_of
from phimage.console.visit import ActionRefused, Enter, PageContent, Visit
from phimage.errors import ServiceUnavailable
from phimage.event_log import log
from phimage.gateway.rate import RateLimit
from phimage.http.asgi import Exchange, Message, Receive, Send
from phimage.http.body import BodyLimits, ClientGone, RequestBody
from phimage.http.proxies import TrustedProxies
from phimage.http.signature_limit import SignatureLimit


def build(
    enter: Enter,
    catalog: Catalog,
    rate_limit: RateLimit | None,
    signature_limit: SignatureLimit,
    proxies: TrustedProxies,
    new_request_id: Callable[[], str],
    body_limits: BodyLimits,
    *,
    health: Callable[[], Mapping[str, str]],
    max_limit: int,
    now: Callable[[], float] = time.time,
    sessions: Sessions | None = None,
) -> Console:
    """The console of an installation. `now` is the time of what is stored and shown; that of nonces is the real one.

    `sessions` take the place of those of its database. `max_limit`: see `Visit`.
    """
    known = CatalogSessions(catalog, rate_limit, now=now)
    nonces = Nonces(catalog.key_encryption.derive("console forms"), NONCE_SECONDS, secrets.token_bytes, time.time)
    sign_in = SignIn(known, proxies, signature_limit)
    return Console(
        enter,
        sessions or known,
        sign_in,
        nonces,
        proxies,
        new_request_id,
        body_limits,
        now,
        health=health,
        max_limit=max_limit,
    )


_NOT_OF_PAGES = ("lang", "theme", "done")
"""Parameters that no link repeats: wishes of the person, and what was done just now."""


class Console:
    """The ASGI application for the paths below `/console/`."""

    def __init__(
        self,
        enter: Enter,
        sessions: Sessions,
        sign_in: SignIn,
        nonces: Nonces,
        proxies: TrustedProxies,
        new_request_id: Callable[[], str],
        body_limits: BodyLimits,
        clock: Callable[[], float] = time.time,
        health: Callable[[], Mapping[str, str]] = dict,
        max_limit: int = 1000,
    ) -> None:
        """`nonces` are those of forms. `enter` answers requests of sessions, `health` says what is away, and `max_limit` limits
        lists; see `Visit`.
        """
        self._enter = enter
        self._sessions = sessions
        self._sign_in = sign_in
        self._nonces = nonces
        self._proxies = proxies
        self._new_request_id = new_request_id
        self._body_limits = body_limits
        self._clock = clock
        self._health = health
        self._max_limit = max_limit

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["path"].startswith(PREFIX):
            await _send_static(Exchange(scope, receive, send, self._new_request_id(), STATIC_FIELDS))
            return
        exchange = Exchange(scope, receive, send, self._new_request_id(), PAGE_FIELDS)
        body = RequestBody(receive, self._body_limits)
        fields = exchange.header_fields()
        cookies = read_cookies(fields.get("cookie", ""))
        whole = read_address(scope["path"], exchange.query, scope.get("root_path", ""))
        kept = {name: value for name, value in whole.params.items() if name not in _NOT_OF_PAGES}
        address = Address(whole.path, kept, whole.root)
        text = texts_of(choose_language(whole.get("lang"), cookies.get(LANGUAGE_COOKIE, ""), fields.get("accept-language", "")))
        theme = next((wish for wish in (whole.get("theme"), cookies.get(THEME_COOKIE)) if wish in THEMES), "system")
        done = whole.get("done") if whole.get("done") in KINDS else ""
        reply = PageReply(exchange, address, text, theme, fields, done)
        try:
            await self._answer(reply, cookies, body)
        except ClientGone:
            return
        except PageError as error:
            await self._drained(reply, body)
            await reply.show_error(None, error.status, error.kind, exchange.request_id)
        except ServiceUnavailable:
            await self._drained(reply, body)
            await reply.show_error(None, 503, "away", exchange.request_id)
        except Exception as error:  # noqa: BLE001 - every request gets a page
            log.exception("console.failed", error, path=scope["path"], request_id=exchange.request_id)
            await reply.show_error(None, 500, "defect", exchange.request_id)

    async def _answer(self, reply: PageReply, cookies: Mapping[str, str], body: RequestBody) -> None:
        exchange, address = reply.exchange, reply.address
        origin = browser_origin(self._proxies.base_url(exchange.scope))
        if origin is None or (not origin.secure and self._proxies.passed_another_proxy(exchange.scope)):
            raise PageError(403, "insecure")
        if exchange.method not in ("GET", "HEAD", "POST"):
            raise PageError(405, "method")
        if exchange.method == "POST":
            check_own_request(origin, reply.fields)
        session = await self._sessions.find(cookies, origin)
        if address.page.startswith(SIGN_IN_PREFIXES):
            await self._sign_in.answer(reply, origin, session, cookies, body)
            return
        found = find_route(address.page)
        if found is None:
            await self._drained(reply, body)
            await reply.show_error(session, 404, "absent", exchange.request_id)
            return
        if session is None:
            await self._send_to_sign_in(reply)
            return
        if session.project and exchange.method != "POST" and not address.get("ProjectId"):
            await reply.redirect(read_address(address.path, exchange.query).href(ProjectId=session.project))
            return
        route, arguments = found
        show, form, sent = route.show, NO_FORM, b""
        if exchange.method == "POST":
            if route.act is None:
                await self._drained(reply, body)
                await reply.show_error(session, 405, "method", exchange.request_id)
                return
            show = route.act
            if route.max_bytes:
                check_token(session, reply.fields.get(TOKEN_FIELD, ""))
                sent = await read_body(body, route.max_bytes)
            else:
                form = read_form(reply.fields, await read_body(body, MAX_FORM))
                check_token(session, form.get(TOKEN))
        visit = Visit(
            session,
            address,
            reply.text,
            self._enter,
            client_address=self._proxies.client_address(exchange.scope),
            base_url=lambda: self._proxies.base_url(exchange.scope),
            new_request_id=self._new_request_id,
            now=self._clock(),
            nonces=self._nonces,
            form=form,
            content=sent,
            health=self._health,
            max_limit=self._max_limit,
            travels=route.travels,
        )
        try:
            content = await show(visit, **arguments)
        except ActionRefused as refused:
            await reply.show_refusal(visit, route, refused)
            return
        await reply.show(content, visit, route)

    async def _send_to_sign_in(self, reply: PageReply) -> None:
        if reply.exchange.method == "POST":
            raise PageError(403, "ended")
        # docs/decisions.md#links-of-other-sites-are-loaded-twice
        if reply.fields.get("sec-fetch-site") == "cross-site":
            await reply.show_signed_out(PageContent("again.html"))
            return
        asked = reply.address.href()
        if "hx-request" in reply.fields:  # the page around the part that was asked for
            asked = inner_address(reply.fields.get("hx-current-url", ""), reply.address.root)
        await reply.redirect(reply.address.plain_link(LOGIN, next=asked))

    async def _drained(self, reply: PageReply, body: RequestBody) -> None:
        """Read the rest of a refused body, so that its sender reads the answer."""
        if reply.exchange.method == "POST":
            await body.drain(MAX_FORM)


# docs/decisions.md#cookies-are-read-without-pythons-parser
def read_cookies(field: str) -> dict[str, str]:
    """The cookies of a request. Of a repeated name the last one counts; the quotes of a value are a part of it."""
    pairs = (part.strip().partition("=") for part in field.split(";"))
    return {name: value for name, equals, value in pairs if equals}


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
