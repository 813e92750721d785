"""The requests of an upload by chunks, from the agent: what may pass is repeated, the rest becomes an error with a remedy."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from phimage.agent.errors import OrderGone, printable
from phimage.errors import ClientError
from phimage.http_client import ApiConnections, HttpAddress, InvalidAddress, NoResponse, ServerResponse, parse_address

_FIRST_WAIT, _MAX_WAIT = 1.0, 30.0
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_EXPIRED = 401
_MAX_RENEWED = 4
"""How many tickets in a row may be refused: more than one is no longer that of a slow clock."""


class UploadAway(ClientError):
    """The server did not take a request of an upload for longer than the agent waits. What was sent is kept."""

    exit_code = 69


class UploadRefused(ClientError):
    """The server refused a request of an upload."""


class ChunksMissing(Exception):
    """The server lacks chunks that it had before: an image that had them was withdrawn meanwhile. Send the disk again."""


class UploadRequests:
    """Sends the requests of one upload. Safe to use from several threads."""

    def __init__(
        self,
        open_url: Callable[[str], str],
        connections: ApiConnections,
        *,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`open_url` returns the URL of the upload, with a ticket; it gets the last one, which has expired, or an empty text.

        It is called by one thread at a time and may raise. `patience` is the longest time, in seconds, without an answer.
        """
        self._open_url = open_url
        self._connections = connections
        self._patience = patience
        self._clock = clock
        self._ending = threading.Event()
        self._wait = wait or self._ending.wait
        self._lock = threading.Lock()
        self._url = ""
        self._answered = clock()

    def ask(self, method: str, below: str, body: bytes) -> bytes:
        """Send a request, `chunk_upload.Ask`. Raises UploadAway, UploadRefused, OrderGone, ChunksMissing and as `open_url`."""
        digest = base64.b64encode(sha256(body).digest()).decode("ascii")
        headers = {"Content-Type": "application/octet-stream", "Content-Digest": f"sha-256=:{digest}:"}
        url, seconds, renewed, began = self._current(""), _FIRST_WAIT, 0, self._clock()
        while True:
            address = _below(url, below)
            try:
                response = self._connections.request(method, address, body, headers)
            except NoResponse as error:
                reason = f"{error}; {error.remedy}"
            else:
                if response.status not in _PASSING:
                    self._answered = self._clock()
                    if 200 <= response.status < 300:
                        return response.body
                    if response.status != _EXPIRED or renewed == _MAX_RENEWED:
                        raise _refusal(response, below, address)
                    renewed += 1
                    url = self._current(url)
                    continue
                reason = _message(response) or "it cannot take it now; look at its log"
            # Zeros are read for hours without a request.
            if self._clock() - max(began, self._answered) >= self._patience or self._ending.is_set():
                raise UploadAway(
                    f"{address.host} does not answer: {reason}. What was sent is kept: run the same again to go on"
                )
            self._wait(seconds)
            seconds = min(2 * seconds, _MAX_WAIT)

    def close(self) -> None:
        """End the waiting of all requests."""
        self._ending.set()

    def __enter__(self) -> UploadRequests:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _current(self, expired: str) -> str:
        """The present URL, a new one if it is the expired one."""
        with self._lock:
            if self._url == expired:
                self._url = self._open_url(expired)
            return self._url


def _below(url: str, path: str) -> HttpAddress:
    try:
        address = parse_address(url)
    except InvalidAddress:
        shown = url.partition("?")[0]
        raise UploadRefused(f"{shown} is not the address of an upload; expected https://HOST/uploads/JOB?TICKET") from None
    return replace(address, path=f"{address.path}/{path}")


def _refusal(response: ServerResponse, below: str, address: HttpAddress) -> Exception:
    message = _message(response) or "it gave no reason"
    match response.status:
        case 409 if below == "seal" and message.startswith("Chunks missing"):
            return ChunksMissing(message)
        case 403 | 409:
            return OrderGone(f"{address.host} takes nothing more for this upload: {message}; look at the state of its image")
        case 413:
            remedy = "let its operator raise the quota or the largest disk, or use --trim"
        case 507:
            remedy = "when it has free space again, run the same again to go on"
        case 401:
            remedy = "its server makes tickets that it refuses: see whether something on the way asks for a password"
        case 404:
            remedy = "check the address of the upload"
        case _:
            remedy = "give the agent the version of the server"
    return UploadRefused(f"{address.host} refused {below}: {message} (HTTP {response.status}); {remedy}")


def _message(response: ServerResponse) -> str:
    try:
        body = json.loads(response.body)
        texts = [str(body[name]) for name in ("Message", "Detail") if body.get(name)]
    except (ValueError, AttributeError, TypeError):
        return ""
    return printable(": ".join(texts))[:500]
