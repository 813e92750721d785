"""The server's side of an upload, over HTTP. What passes is tried again; what does not is told with what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
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
from phimage.upload_client.content import Content

Answer = TypeVar("Answer")

OpenUrl = Callable[[], str]
"""Gives a URL of the upload that holds good for a while. It is asked again, from any thread, when the last one does not."""

MAX_PART: Final = 64 << 20
"""Bytes; no server makes this program hold larger parts."""

_MAX_ANSWER: Final = 64 << 20
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_TIMES: Final = urllib3.Timeout(connect=30, read=120)  # the first also bounds the sending of each block
_AGAIN: Final = "what was sent is kept: run the same again to go on"


class Kept(Struct, frozen=True, rename="pascal"):
    """A part that the server has; its SHA-256 in hexadecimal."""

    part: int
    size: int
    sha256: str


class State(Struct, frozen=True, rename="pascal"):
    """What the server has of an upload, and how large its parts are."""

    part_size: int
    parts: tuple[Kept, ...]


class Stopped(Exception):
    """Not an error: the upload ends for another reason, and this part with it."""


class _Taken(Struct, frozen=True, rename="pascal"):
    part: int
    size: int


class _Told(Struct, frozen=True, rename="pascal"):
    message: str = ""
    detail: str = ""


class Connection:
    """One upload. `put` may be called from several threads. It is a context manager."""

    def __init__(self, open_url: OpenUrl, retry: Retry, at_once: int) -> None:
        self._open_url = open_url
        self._retry = retry
        self._url = ""
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._there = 0
        self._pool = urllib3.PoolManager(maxsize=at_once, retries=False, timeout=_TIMES)

    def state(self) -> State:
        """What the server has. Raises SourceBroken and ClientError."""
        data, shown = with_retries(lambda: self._ask("GET", "", None), self._retry, self._ending.wait)
        state = _decode(data, State, shown)
        if not 1 <= state.part_size <= MAX_PART:
            raise ClientError(f"{shown} wants parts of {state.part_size} bytes; this program sends at most {MAX_PART}")
        return state

    def put(self, number: int, size: int, content: Content) -> None:
        """Send a part of so many raw bytes; the server has it safely when this returns. Raises SourceBroken and ClientError."""
        data, shown = with_retries(
            lambda: self._ask("PUT", f"/{number}", content), self._retry, self._ending.wait, lambda: self._there
        )
        taken = _decode(data, _Taken, shown)
        if taken != _Taken(number, size):
            raise ClientError(f"{shown} took part {taken.part} with {taken.size} bytes instead of {size}; tell its operator")
        self.have(size)

    def have(self, size: int) -> None:
        """So many more bytes are at the server: earlier failures are forgotten."""
        with self._lock:
            self._there += size

    def stop(self) -> None:
        """End what is under way, soon: nothing more is sent, and nobody waits to try again."""
        self._ending.set()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.stop()
        self._pool.clear()

    def _ask(self, method: str, below: str, content: Content | None) -> tuple[bytes, str]:
        """One request, once more with a new URL when that is what it needs. The answer, and where it is from."""
        url = self._current("")
        status, headers, data = self._request(method, _below(url, below), content)
        if status == 401:
            url = self._current(url)
            status, headers, data = self._request(method, _below(url, below), content)
        shown = _shown(_below(url, below))
        if 200 <= status < 300:
            return data, shown
        told = _told(data)
        if status in _PASSING:
            after = headers.get("Retry-After", "")
            seconds = float(after) if after.isdecimal() else 0.0
            raise SourceInterrupted(shown, told or "it cannot answer now", reason="busy", status=status, after=seconds)
        raise ClientError(f"{shown} refused: {told or 'no reason was told'} (HTTP {status}); {_remedy(status)}")

    def _request(self, method: str, url: str, content: Content | None) -> tuple[int, Mapping[str, str], bytes]:
        """Raises SourceBroken when there is no whole answer."""
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
            data = response.read(_MAX_ANSWER + 1)
            if len(data) > _MAX_ANSWER:
                response.close()
                raise ClientError(f"{_shown(url)} answers too much; is it phimage?")
            response.release_conn()
        except LocationValueError:
            raise ClientError(f"{_shown(url)} is no address; expected http://host:port/...") from None
        except SSLError as error:
            raise ClientError(f"{_shown(url)}: no safe connection: {_reason(error)}; check its certificate") from None
        except (HTTPError, OSError) as error:
            raise SourceInterrupted(_shown(url), f"the connection broke: {_reason(error)}", reason="cut") from None
        return response.status, response.headers, data

    def _current(self, refused: str) -> str:
        """The URL to ask, another one than the one that was refused."""
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


def _decode(data: bytes, type: type[Answer], shown: str) -> Answer:
    try:
        return msgspec.json.decode(data, type=type)
    except msgspec.DecodeError:
        raise ClientError(f"{shown} does not answer as phimage does; check the address") from None


def _below(url: str, path: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path + path))


def _shown(url: str) -> str:
    """A URL without its query, which is as good as a key."""
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _told(data: bytes) -> str:
    try:
        told = msgspec.json.decode(data, type=_Told)
    except msgspec.DecodeError:
        return ""
    text = f"{told.message}: {told.detail}" if told.detail else told.message
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:500]


def _reason(error: Exception) -> str:
    """The end of what urllib3 says: without its own objects, whose texts hold addresses in memory."""
    text = str(error)
    return error_text(Exception(text.rpartition("] ")[2] if "] " in text else text.rpartition(": ")[2]))


def _remedy(status: int) -> str:
    match status:
        case 507:
            return f"when there is room again, {_AGAIN}"
        case 409:
            return "look what became of its job"
        case 413:
            return "ask its operator for more, or give the image compressed"
        case _:
            return _AGAIN
