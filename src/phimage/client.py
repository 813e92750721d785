"""The client of the gateway. It signs every request with version 2; the CLI has no other way in."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from phimage.errors import ClientError, Refused, Unreachable, WrongSignature
from phimage.gateway.signature import sign

# docs/decisions.md#the-client-uses-the-standard-library
from phimage.http_client import ApiConnections, HttpAddress, InvalidAddress, NoResponse, ServerResponse, parse_address
from phimage.http_signature import sign_request
from phimage.model.account import PrivateKey

ParamValue = str | int | bool | None | Iterable[str]
"""The value of a parameter. None and an empty list are omitted."""

LARGE = 60_000
"""Larger bodies are sent as JSON with the Action in the query, for which the server accepts more."""


class ActionResponse(msgspec.Struct, frozen=True):
    """A successful response: its fields, its revision and the id of the request.

    `newer` names the newer images that a response of a past revision omits: `family=id, ...`.
    """

    fields: dict[str, Any]
    revision: int | None
    request_id: str
    newer: str = ""


class PreparedRequest(msgspec.Struct, frozen=True):
    """A signed POST, ready to be sent once."""

    url: str
    headers: dict[str, str]
    body: bytes


class Client:
    """A signed connection to one endpoint. `call` is safe to use from several threads.

    `clock` is the client's, in Unix seconds. When the server refuses a signature for its time, the client takes over the
    server's time and signs once more.
    """

    def __init__(
        self, endpoint: str, public: str, private: PrivateKey, *, timeout: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise ClientError(f"{endpoint!r} is not an address; expected http://host:port")
        self.endpoint = endpoint.rstrip("/")
        self.public_key = public
        self._private = private
        self._clock = clock
        self._offset = 0.0
        self._http = ApiConnections(timeout)

    def at(self, revision: int) -> Client:
        """A client with the same key and connections that reads a past revision."""
        past = Client(f"{self.endpoint}/rev/{revision}", self.public_key, self._private, clock=self._clock)
        past._http, past._offset = self._http, self._offset
        return past

    def call(self, action: str, /, **params: ParamValue) -> ActionResponse:
        """Call an Action. Raises Refused with the RetCode, or Unreachable."""
        try:
            return self._post(self.prepare(action, **params))
        except Refused as refused:
            server_time = refused.answer.get("ServerTime")
            if refused.ret_code != WrongSignature.ret_code or not isinstance(server_time, int):
                raise
            self._offset = server_time - self._clock()
        return self._post(self.prepare(action, **params))

    def prepare(self, action: str, /, **params: ParamValue) -> PreparedRequest:
        """A call as a request with a signature of version 2. Raises ClientError for an endpoint that is no address."""
        given = {name: _utf8(name, text) for name, text in (("Action", action), *_texts(params))}
        body = urlencode(given).encode()
        url, kind = f"{self.endpoint}/", "application/x-www-form-urlencoded"
        if len(body) > LARGE:
            url, kind, body = f"{url}?Action={action}", "application/json", msgspec.json.encode(given)
        sent = self._address(url)
        signature = sign_request(
            self.public_key,
            self._private.reveal(),
            "POST",
            sent.path,
            sent.query,
            body,
            created=round(self._clock() + self._offset),
            nonce=secrets.token_urlsafe(16),
        )
        return PreparedRequest(url, {"Content-Type": kind, **signature}, body)

    def _post(self, request: PreparedRequest) -> ActionResponse:
        try:
            response = self._http.post(self._address(request.url), request.body, request.headers)
        except NoResponse as error:
            raise Unreachable(f"no answer from {self.endpoint}: {error}; {error.remedy}") from None
        return _read(response, self.endpoint)

    def _address(self, url: str) -> HttpAddress:
        try:
            return parse_address(url)
        except InvalidAddress:
            raise ClientError(f"{self.endpoint!r} is not an address; expected http://host:port") from None

    def signed(self, action: str, /, **params: ParamValue) -> dict[str, str]:
        """The parameters of a call as texts, with a signature of version 1, for programs that sign as UCloud's clients do."""
        body = {"Action": action, "PublicKey": self.public_key, **dict(_texts(params))}
        return body | {"Signature": sign(body, self._private)}

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _texts(params: Mapping[str, ParamValue]) -> Iterable[tuple[str, str]]:
    for name, value in params.items():
        if value is None:
            continue
        if isinstance(value, bool):
            yield name, "true" if value else "false"
        elif isinstance(value, str | int):
            yield name, str(value)
        else:
            yield from ((f"{name}.{position}", text) for position, text in enumerate(value))


def _utf8(name: str, text: str) -> str:
    """A text of the command line, where Python escapes bytes that its locale lacks. Raises ClientError if it is not UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        raise ClientError(f"{name} is not UTF-8: {text!r}; write it in UTF-8, or set LANG=C.UTF-8") from None


def _read(response: ServerResponse, endpoint: str) -> ActionResponse:
    request_id = response.headers.get("x-ucloud-request-uuid", "")
    try:
        fields = msgspec.json.decode(response.body, type=dict[str, Any])
        ret_code = fields["RetCode"]
    except (msgspec.DecodeError, KeyError):
        raise Unreachable(f"{endpoint} is not phimage (HTTP {response.status}): check the address") from None
    if ret_code != 0:
        raise Refused(ret_code, fields.get("Message", ""), fields.get("Detail", ""), request_id, fields)
    revision = response.headers.get("x-phimage-revision")
    newer = response.headers.get("x-phimage-newer", "")
    return ActionResponse(fields, int(revision) if revision else None, request_id, newer)
