"""The HTTP requests of an upload. Passing failures are retried; others become an error with a remedy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from types import TracebackType
from typing import Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec
import urllib3
from msgspec import Struct
from urllib3.exceptions import HTTPError, LocationValueError, SSLError

from phimage.errors import ClientError, Unreachable
from phimage.sources.errors import SourceInterrupted, error_text
from phimage.sources.retry import Retry, with_retries
from phimage.upload_client.content import PartContent

Decoded = TypeVar("Decoded")

OpenUrl = Callable[[], str]
"""Returns a temporary URL of the upload. Called again, from any thread, when the last URL has expired."""

MAX_PART: Final = 64 << 20
"""The max part size in bytes that a server may ask for."""

_MAX_RESPONSE: Final = 64 << 20
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_TIMEOUT: Final = urllib3.Timeout(connect=30, read=120)  # the first also limits the sending of each block
_RESUME_REMEDY: Final = "what was sent is kept: run the same again to go on"


class UploadedPart(Struct, frozen=True, rename="pascal"):
    """A part that the server has, with its SHA-256 in hexadecimal."""

    part: int
    size: int
    sha256: str


class UploadState(Struct, frozen=True, rename="pascal"):
    """The parts that the server has of an upload, and the part size."""

    part_size: int
    parts: tuple[UploadedPart, ...]


class RequestRefused(ClientError):
    """The server refused a request with an HTTP `status`."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class Stopped(Exception):
    """Ends the sending of a part, because the upload has ended for another reason."""


class _PutResult(Struct, frozen=True, rename="pascal"):
    part: int
    size: int


class _ErrorBody(Struct, frozen=True, rename="pascal"):
    message: str = ""
    detail: str = ""


class UploadConnection:
    """The requests of one upload. A context manager; `put` is thread-safe."""

    def __init__(self, open_url: OpenUrl, retry: Retry, at_once: int) -> None:
        self._open_url = open_url
        self._retry = retry
        self._url = ""
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._received = 0
        self._pool = urllib3.PoolManager(maxsize=at_once, retries=False, timeout=_TIMEOUT)

    def state(self) -> UploadState:
        """Ask for the parts that the server has. Raises SourceInterrupted and ClientError."""
        data, shown = with_retries(lambda: self._ask("GET", "", None), self._retry, self._ending.wait)
        state = _decode(data, UploadState, shown)
        if not 1 <= state.part_size <= MAX_PART:
            message = f"{shown} asks for parts of {state.part_size} bytes, but this client sends at most {MAX_PART}"
            raise ClientError(f"{message}; update the client")
        return state

    def put(self, number: int, size: int, content: PartContent) -> None:
        """Send a part of `size` raw bytes, which is durable on return. Raises SourceInterrupted and ClientError."""
        data, shown = with_retries(
            lambda: self._ask("PUT", f"/{number}", content), self._retry, self._ending.wait, lambda: self._received
        )
        taken = _decode(data, _PutResult, shown)
        if taken != _PutResult(number, size):
            raise ClientError(
                f"{shown} stored part {taken.part} with {taken.size} bytes instead of {size}; report it to its operator"
            )
        self.add_received(size)

    def ask(self, method: str, below: str, body: bytes) -> bytes:
        """Send a request of an upload by chunks. Raises SourceInterrupted and ClientError."""
        content = PartContent(body, sha256(body).digest(), zstd=False)
        data, _ = with_retries(
            lambda: self._ask(method, f"/{below}", content), self._retry, self._ending.wait, lambda: self._received
        )
        self.add_received(len(body))
        return data

    def add_received(self, size: int) -> None:
        """Count bytes that the server has received, which resets the count of failures."""
        with self._lock:
            self._received += size

    def stop(self) -> None:
        """End all requests and retries soon. Nothing more is sent."""
        self._ending.set()

    def __enter__(self) -> UploadConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.stop()
        self._pool.clear()

    def _ask(self, method: str, below: str, content: PartContent | None) -> tuple[bytes, str]:
        """Send one request, again with a new URL if the first has expired. Returns the body and the URL for messages."""
        url = self._current("")
        status, headers, data = self._request(method, _below(url, below), content)
        if status == 401:
            url = self._current(url)
            status, headers, data = self._request(method, _below(url, below), content)
        shown = _shown(_below(url, below))
        if 200 <= status < 300:
            return data, shown
        message = _error_message(data)
        if status in _TRANSIENT:
            after = headers.get("Retry-After", "")
            seconds = float(after) if after.isdecimal() else 0.0
            message = message or "it cannot respond at the moment"
            raise SourceInterrupted(shown, message, reason="busy", status=status, after=seconds)
        text = f"{shown} refused: {message or 'it gave no reason'} (HTTP {status}); {_remedy(status)}"
        raise RequestRefused(text, status)

    def _request(self, method: str, url: str, content: PartContent | None) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request. Raises SourceInterrupted when there is no complete response."""
        self._check()
        try:
            response = self._pool.request(
                method,
                url,
                body=content.blocks(self._check) if content else None,
                headers=content.fields if content else None,
                redirect=False,
                preload_content=False,
            )
            data = response.read(_MAX_RESPONSE + 1)
            if len(data) > _MAX_RESPONSE:
                response.close()
                raise ClientError(f"{_shown(url)} sends more than {_MAX_RESPONSE} bytes; check that the address is phimage's")
            response.release_conn()
        except LocationValueError:
            raise ClientError(f"{_shown(url)} is not an address; expected http://host:port/...") from None
        except SSLError as error:
            raise ClientError(f"{_shown(url)}: no secure connection: {_reason(error)}; check its certificate") from None
        except (HTTPError, OSError) as error:
            raise SourceInterrupted(_shown(url), f"the connection broke: {_reason(error)}", reason="cut") from None
        return response.status, response.headers, data

    def _current(self, refused: str) -> str:
        """The present URL, a new one if it equals the refused one."""
        with self._lock:
            if self._url == refused:
                try:
                    self._url = self._open_url()
                except Unreachable as error:
                    raise SourceInterrupted("phimage", str(error), reason="connect") from None
            return self._url

    def _check(self) -> None:
        if self._ending.is_set():
            raise Stopped


def _decode(data: bytes, type: type[Decoded], shown: str) -> Decoded:
    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.DecodeError:
        raise ClientError(f"{shown} does not respond like phimage; check the address") from None


def _below(url: str, path: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path + path))


def _shown(url: str) -> str:
    """A URL without its query, which is a secret."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _error_message(data: bytes) -> str:
    try:
        body = msgspec.json.decode(data, type=_ErrorBody)
    except msgspec.DecodeError:
        return ""
    text = f"{body.message}: {body.detail}" if body.detail else body.message
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:500]


def _reason(error: Exception) -> str:
    """The end of urllib3's message, without the representations of its objects, which contain memory addresses."""
    text = str(error)
    return error_text(Exception(text.rpartition("] ")[2] if "] " in text else text.rpartition(": ")[2]))


def _remedy(status: int) -> str:
    match status:
        case 507:
            return f"when there is free space again, {_RESUME_REMEDY}"
        case 409:
            return "check the state of its job"
        case 413:
            return "ask its operator for a larger limit, or give the image compressed"
        case _:
            return _RESUME_REMEDY
