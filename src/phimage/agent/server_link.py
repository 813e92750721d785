"""The agent's requests to its server: signed with the host's own key, and repeated while the server is away."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from phimage.agent.errors import AgentRefused, OrderGone
from phimage.errors import ClientError
from phimage.http_client import ApiConnections, HttpAddress, InvalidAddress, NoResponse, parse_address
from phimage.http_signature import sign_request

Params = Mapping[str, str | int | bool | Iterable[str]]

TIMEOUT = 40.0
"""Longer than the server holds a poll, in seconds."""
MAX_ANSWER = 16 << 20
"""Far more than the answer to any question of an agent."""

_FIRST_PAUSE, _MAX_PAUSE = 1.0, 30.0
_BUSY = (150, 153)
_WRONG_SIGNATURE, _UNKNOWN_KEY, _ORDER_LOST = 171, 172, 242


class ServerAway(ClientError):
    """The server did not answer for longer than a request waits."""

    exit_code = 69


@dataclass(frozen=True)
class AgentKey:
    """A key of signature version 2. Its secret is never shown."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"AgentKey({self.id!r})"


def enroll_credential(token: str) -> AgentKey:
    """The credential of an enrol token, whose secret never crosses the network. Raises ClientError."""
    id, dot, secret = token.strip().partition(".")
    if not (id and dot and secret):
        raise ClientError("the token is not one of a host; expected enrol-LETTERS.LETTERS, as `phimage host token` prints it")
    return AgentKey(id, secret)


class ServerLink:
    """The Actions of the agent. Safe to use from several threads.

    The clock of a machine that was just started may be wrong: the server's time is taken from its refusal.
    """

    def __init__(
        self,
        server: str,
        connections: ApiConnections,
        clock: Callable[[], float],
        pause: Callable[[float], object],
        nonce: Callable[[], str] = lambda: secrets.token_urlsafe(16),
        steady: Callable[[], float] | None = None,
    ) -> None:
        """`clock` is Unix seconds, for signatures; `steady` counts the seconds of patience, and is `clock` by default. `pause`
        waits some seconds. Raises ClientError for an address without https, unless it is of this machine.
        """
        self._address = _server_address(server)
        self._connections = connections
        self._clock = clock
        self._pause = pause
        self._nonce = nonce
        self._steady = steady or clock
        self._offset = 0.0
        self._is_phimage = False
        """Whether it answered once. After that, other answers are those of something on the way, which will pass."""

    def call(self, credential: AgentKey, action: str, params: Params, *, patience: float) -> dict[str, Any]:
        """The response of an Action. Repeats it for `patience` seconds while the server is away or busy.

        Raises OrderGone, AgentRefused for all other refusals, and ServerAway.
        """
        began, pause, again = self._steady(), _FIRST_PAUSE, True
        while True:
            try:
                return self._post(credential, action, params)
            except NoResponse as error:
                reason = f"{error}; {error.remedy}"
            except AgentRefused as refused:
                if refused.ret_code == _ORDER_LOST:
                    raise OrderGone(str(refused)) from None
                if refused.ret_code == _WRONG_SIGNATURE and again:
                    again = False
                    self._take_time(refused.server_time)
                    continue
                if refused.ret_code not in _BUSY:
                    raise
                reason = str(refused)
            if self._steady() - began + pause > patience:
                raise ServerAway(f"no answer from {self._address.host}: {reason}")
            self._pause(pause)
            pause = min(2 * pause, _MAX_PAUSE)

    def _take_time(self, server_time: int | None) -> None:
        if server_time is not None:
            self._offset = server_time - self._clock()

    def _post(self, credential: AgentKey, action: str, params: Params) -> dict[str, Any]:
        body = urlencode([("Action", action), *_texts(params)]).encode("ascii")
        signature = sign_request(
            credential.id,
            credential.secret,
            "POST",
            self._address.path,
            self._address.query,
            body,
            created=round(self._clock() + self._offset),
            nonce=self._nonce(),
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", **signature}
        response = self._connections.post(self._address, body, headers)
        try:
            answer: dict[str, Any] = json.loads(response.body)
            ret_code = int(answer["RetCode"])
        except (ValueError, KeyError, TypeError):
            if response.status >= 500 or self._is_phimage:
                raise NoResponse(f"HTTP {response.status}", "see the log of the server") from None
            raise ClientError(f"{self._address.host} is not phimage (HTTP {response.status}): check --server") from None
        self._is_phimage = True
        if ret_code:
            server_time = answer.get("ServerTime")
            raise AgentRefused(
                ret_code,
                str(answer.get("Message", "")),
                str(answer.get("Detail", "")),
                server_time if isinstance(server_time, int) else None,
            )
        return answer


def _server_address(server: str) -> HttpAddress:
    try:
        address = parse_address(server.rstrip("/") + "/")
    except InvalidAddress:
        raise ClientError(f"{server!r} is not an address; expected https://HOST") from None
    if not address.is_private:
        raise ClientError(
            f"{server}: a key must not cross a network in the clear; use https, with --ca for a certificate of your own"
        )
    return address


def _texts(params: Params) -> Iterable[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, bool):
            yield name, "true" if value else "false"
        elif isinstance(value, str | int):
            yield name, str(value)
        else:
            yield from ((f"{name}.{number}", text) for number, text in enumerate(value))
