"""Signing in and out: the page, and what its script sends.

The code of a link is in the fragment of its address, which browsers do not send: the page posts it. A private key is typed into
a field without a name, and the script of the page sends a proof of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from phimage.console.browser_origin import BrowserOrigin, inner_path
from phimage.console.catalog_sessions import CatalogSessions, NewSession
from phimage.console.form import TOKEN, PageError, check_token, read_body, read_form
from phimage.console.nonces import KeyProof
from phimage.console.reply import PageReply
from phimage.console.sentences import translate
from phimage.console.session import ConsoleSession
from phimage.console.visit import PageContent
from phimage.errors import AddressRefused, RateLimited, RequestError, ServiceUnavailable
from phimage.http.body import RequestBody
from phimage.http.proxies import TrustedProxies
from phimage.http.signature_limit import LIMITED_CODES, SignatureLimit

LOGIN, LOGOUT = "login", "logout"
"""The paths below the root."""
SIGN_IN_PREFIXES = (LOGIN, LOGOUT)
MAX_BODY = 4096
_REASONS: tuple[tuple[type[RequestError], str], ...] = (
    (AddressRefused, "address"),
    (RateLimited, "rate"),
    (ServiceUnavailable, "away"),
)

Sent = TypeVar("Sent", bound=Struct)


class LoginCode(Struct, frozen=True, rename="pascal"):
    """What the page sends of a link. `instead`: its person wants to end the session of the browser for it."""

    code: str
    instead: bool = False


class SignIn:
    """Answers the paths of signing in and out."""

    def __init__(self, sessions: CatalogSessions, proxies: TrustedProxies, limit: SignatureLimit) -> None:
        """`limit` counts failures by address, like wrong signatures."""
        self._sessions = sessions
        self._proxies = proxies
        self._limit = limit

    async def answer(
        self,
        reply: PageReply,
        origin: BrowserOrigin,
        session: ConsoleSession | None,
        cookies: Mapping[str, str],
        body: RequestBody,
    ) -> None:
        """Answer a request. Raises PageError, ServiceUnavailable and ClientGone."""
        secret = origin.secret(cookies)
        match reply.exchange.method, reply.address.page:
            case "GET" | "HEAD", path if path == LOGIN:
                following = inner_path(reply.address.get("next"), reply.address.root)
                await reply.show_signed_out(PageContent("login.html", {"following": following, "signed_in": session}))
            case "POST", path if path == f"{LOGIN}/nonce":
                await read_body(body, MAX_BODY)
                await reply.send_json(200, {"Nonce": self._sessions.nonce()})
            case "POST", path if path == f"{LOGIN}/code":
                sent = await _read(reply, body, LoginCode)
                if session is not None and not sent.instead:
                    await _ask_first(reply, session)
                    return
                await self._begin(reply, origin, secret, "code", lambda at: self._sessions.begin_by_code(sent.code, at))
            case "POST", path if path == f"{LOGIN}/key":
                proof = await _read(reply, body, KeyProof)
                await self._begin(reply, origin, secret, "key", lambda at: self._sessions.begin_by_proof(proof, at))
            case "POST", path if path == LOGOUT:
                await self._end(reply, origin, session, secret, body)
            case _:
                raise PageError(404, "absent")

    async def _begin(
        self, reply: PageReply, origin: BrowserOrigin, secret: str, way: str, begin: Callable[[str], NewSession]
    ) -> None:
        """Begin a session in place of that of the cookie, or answer with the reason why not."""
        address = self._proxies.client_address(reply.exchange.scope)
        try:
            new = await asyncio.to_thread(begin, address)
        except RequestError as error:
            if error.ret_code in LIMITED_CODES:
                error = self._limit.refusal(error.ret_code, reply.exchange.scope) or error
            reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), way)
            detail = "" if reason == way else translate(reply.text, error.detail) or error.detail
            values = {"Reason": reply.text(f"login.refused_{reason}"), "Detail": detail}
            await reply.send_json(error.http_status, values)
            return
        if secret:
            await asyncio.to_thread(self._sessions.end, secret)
        await reply.send_json(200, {}, {"Set-Cookie": origin.set_cookie(new.secret)})

    async def _end(
        self, reply: PageReply, origin: BrowserOrigin, session: ConsoleSession | None, secret: str, body: RequestBody
    ) -> None:
        form = read_form(reply.fields, await read_body(body, MAX_BODY))
        if session is not None:
            check_token(session, form.get(TOKEN))
            await asyncio.to_thread(self._sessions.end, secret)
        await reply.redirect(reply.address.plain_link(LOGIN), {"Set-Cookie": origin.clear_cookie()})


# docs/decisions.md#a-link-never-replaces-a-session-unasked
async def _ask_first(reply: PageReply, session: ConsoleSession) -> None:
    """Answer that somebody is signed in. The code can still be used."""
    await reply.send_json(409, {"Instead": reply.text("login.instead", user=f"{session.account}/{session.user}")})


async def _read(reply: PageReply, body: RequestBody, kind: type[Sent]) -> Sent:
    """What a script sent. Raises PageError unless it is JSON, which no form of another site can send."""
    if reply.fields.get("content-type", "") != "application/json":
        raise PageError(415, "form")
    try:
        return msgspec.json.decode(await read_body(body, MAX_BODY), type=kind)
    except msgspec.DecodeError:
        raise PageError(400, "form") from None
