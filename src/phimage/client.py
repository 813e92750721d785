"""The client of the gateway. It signs like every UCloud client; the CLI has no other way in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
import urllib3

from phimage.errors import ClientError, Refused, Unreachable
from phimage.gateway.signature import sign
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


class Client:
    """A signed connection to one endpoint. `call` is safe to use from several threads."""

    def __init__(self, endpoint: str, public: str, private: PrivateKey, *, timeout: float = 60.0) -> None:
        if not endpoint.startswith(("http://", "https://")):
            raise ClientError(f"{endpoint!r} is not an address; expected http://host:port")
        self.endpoint = endpoint.rstrip("/")
        self.public_key = public
        self._private = private
        # docs/decisions.md#the-client-uses-urllib3
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=10, read=timeout), retries=False)

    def at(self, revision: int) -> Client:
        """A client with the same key that reads a past revision."""
        return Client(f"{self.endpoint}/rev/{revision}", self.public_key, self._private)

    def call(self, action: str, /, **params: ParamValue) -> ActionResponse:
        """Call an Action. Raises Refused with the RetCode, or Unreachable."""
        body = self.signed(action, **params)
        form = urlencode(body).encode()
        url, kind = f"{self.endpoint}/", "application/x-www-form-urlencoded"
        if len(form) > LARGE:
            url, kind, form = f"{url}?Action={action}", "application/json", msgspec.json.encode(body)
        try:
            response = self._pool.request("POST", url, body=form, headers={"Content-Type": kind})
        except urllib3.exceptions.LocationValueError:
            raise ClientError(f"{self.endpoint!r} is not an address; expected http://host:port") from None
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"no answer from {self.endpoint}: {_reason(error)}; check that phimage runs there") from None
        return _read(response, self.endpoint)

    def signed(self, action: str, /, **params: ParamValue) -> dict[str, str]:
        """The parameters of a call as texts, with their signature."""
        body = {"Action": action, "PublicKey": self.public_key, **dict(_texts(params))}
        return body | {"Signature": sign(body, self._private)}

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

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


def _read(response: urllib3.BaseHTTPResponse, endpoint: str) -> ActionResponse:
    request_id = response.headers.get("X-UCLOUD-REQUEST-UUID", "")
    try:
        fields = msgspec.json.decode(response.data, type=dict[str, Any])
        ret_code = fields["RetCode"]
    except (msgspec.DecodeError, KeyError):
        raise Unreachable(f"{endpoint} is not phimage (HTTP {response.status}): check the address") from None
    if ret_code != 0:
        raise Refused(ret_code, fields.get("Message", ""), fields.get("Detail", ""), request_id, fields)
    revision = response.headers.get("X-Phimage-Revision")
    newer = response.headers.get("X-Phimage-Newer", "")
    return ActionResponse(fields, int(revision) if revision else None, request_id, newer)


def _reason(error: Exception) -> str:
    text = str(error)
    return text.rpartition("] ")[2] if "] " in text else text.rpartition(": ")[2]
