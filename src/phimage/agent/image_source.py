"""An image on a server: its manifest, and its chunks by ranges of the zstd file, each verified before anyone gets it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from phimage.agent.errors import ImageMismatch, ImageUnavailable, OrderGone, TicketExpired, printable
from phimage.agent.image_chunks import FrameMap, ImageChunks, read_frames, read_manifest
from phimage.http_client import ApiConnections, InvalidAddress, NoResponse, ServerResponse, parse_address
from phimage.zstd_frame import BadFrame, decompress

MAX_BATCH_BYTES = 2 << 20
"""The most bytes of one request, unless a single frame is larger."""
MAX_BATCH_FRAMES = 32

_MAX_LISTING = 512 << 20  # of a manifest or a list of frames, which name every chunk
_TRIES = 4
"""How often a chunk is fetched that arrives damaged."""
_FIRST_PAUSE, _MAX_PAUSE = 0.25, 10.0
_ORDER_LOST = (403, 409)
_MAX_REASON = 500


@dataclass(frozen=True)
class ImageUrls:
    """Where the forms of one image are, each with its ticket if it needs one."""

    manifest: str
    frames: str
    zstd: str


def image_urls(url: str) -> ImageUrls:
    """The URLs of an image's forms from that of any form, as `phimage image url` prints it. Raises ImageMismatch."""
    path, mark, query = url.partition("?")
    for ending in (".raw.zst", ".raw", ".qcow2", ".sha256", "/manifest", "/frames"):
        if path.endswith(ending) and "/images/" in path:
            base = path.removesuffix(ending)
            return ImageUrls(*(f"{base}{form}{mark}{query}" for form in ("/manifest", "/frames", ".raw.zst")))
    raise ImageMismatch(f"{path} is not an image's URL: `phimage image url ID` prints one, such as .../images/ID.raw")


class ServedImage:
    """An image that is fetched. Safe to use from several threads. `fetched` counts the bytes of frames that arrived."""

    def __init__(
        self,
        urls: ImageUrls,
        connections: ApiConnections,
        pause: Callable[[float], None],
        clock: Callable[[], float],
        *,
        patience: float,
        renew: Callable[[], ImageUrls] | None = None,
    ) -> None:
        """`pause` waits some seconds, and may raise to end the waiting. `clock` counts seconds.

        `patience`: how long the server may be away, in seconds. `renew` returns URLs with new tickets for expired ones.
        """
        self.fetched = 0
        self._urls = urls
        self._connections = connections
        self._pause = pause
        self._clock = clock
        self._patience = patience
        self._renew = renew
        self._lock = threading.Lock()
        self._frames: FrameMap | None = None
        self._responded = clock()

    def chunks(self, digest: str) -> ImageChunks:
        """The image's chunks, from the manifest with this digest; an empty text accepts any manifest.

        Raises ImageMismatch and ImageUnavailable.
        """
        response = self._get(lambda urls: urls.manifest, {}, _MAX_LISTING)
        return read_manifest(response.body, digest)

    def batches(self, chunks: ImageChunks, places: Iterator[int]) -> Iterator[range]:
        """Places that `read` fetches with one request each."""
        return self._map(chunks).batches(places, MAX_BATCH_BYTES, MAX_BATCH_FRAMES)

    # docs/decisions.md#the-agent-trusts-the-digest-and-not-the-list-of-frames
    def read(self, chunks: ImageChunks, places: range) -> Iterator[tuple[int, bytes]]:
        """The bytes of some chunks, at least one, with their places, each verified by its digest.

        Raises ImageUnavailable if one still arrives damaged when it was fetched several times.
        """
        first, tries = places.start, 0
        while first < places.stop:
            try:
                for place, raw in self._fetch(chunks, range(first, places.stop)):
                    yield place, raw
                    first, tries = place + 1, 0
            except BadFrame as error:
                tries += 1
                if tries == _TRIES:
                    at = f"the chunk at byte {chunks.offset(first)} of the image"
                    remedy = "`phimage image verify` shows whether the store is damaged; otherwise something on the way is"
                    raise ImageUnavailable(f"{at} arrived damaged {tries} times: {error}; {remedy}") from None
                self._pause(_FIRST_PAUSE * tries)
                with self._lock:
                    self._frames = None  # a chunk that was stored again may have a frame of another length

    def _fetch(self, chunks: ImageChunks, places: range) -> Iterator[tuple[int, bytes]]:
        frames = self._map(chunks)
        # The list may be another one than that by which these places fit into one request.
        places = next(frames.batches(iter(places), MAX_BATCH_BYTES, MAX_BATCH_FRAMES))
        start, stop = frames.span(places.start, places.stop)
        wanted = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        response = self._get(lambda urls: urls.zstd, wanted, stop - start)
        if response.status != 206 or not response.headers.get("content-range", "").startswith(f"bytes {start}-{stop - 1}/"):
            raise BadFrame(f"the server sent other bytes than {start} to {stop - 1} of the zstd file")
        with self._lock:
            self.fetched += len(response.body)
        for place in places:
            begin, end = frames.span(place, place + 1)
            raw = decompress(response.body[begin - start : end - start], chunks.length(place))
            if sha256(raw).digest() != chunks.digest(place):
                raise BadFrame("its SHA-256 is not that of the manifest")
            yield place, raw

    def _map(self, chunks: ImageChunks) -> FrameMap:
        with self._lock:
            if self._frames is not None:
                return self._frames
        frames = read_frames(self._get(lambda urls: urls.frames, {}, _MAX_LISTING).body, chunks)
        with self._lock:
            self._frames = frames
        return frames

    def _get(self, which: Callable[[ImageUrls], str], headers: dict[str, str], max_bytes: int) -> ServerResponse:
        """A successful response. Waits while the server is away or busy."""
        pause, expired, began = _FIRST_PAUSE, 0, self._clock()
        while True:
            urls = self._urls
            reason = ""
            try:
                response = self._connections.request("GET", parse_address(which(urls)), None, headers, max_bytes)
            except InvalidAddress:
                raise ImageMismatch(
                    f"{which(urls).partition('?')[0]} is not an address; expected https://HOST/images/..."
                ) from None
            except NoResponse as error:
                reason = f"{error}; {error.remedy}"
            else:
                if response.status in (200, 206):
                    self._responded = self._clock()
                    return response
                reason = _reason(response)
                if response.status == 401 and expired < _TRIES:
                    expired += 1
                    self._renew_urls(urls, reason)
                    continue
                if response.status < 500 and response.status not in (408, 429):
                    raise (OrderGone if self._renew and response.status in _ORDER_LOST else ImageUnavailable)(reason)
            # A disk is zeroed and compared for hours without a request.
            if self._clock() - max(began, self._responded) > self._patience:
                raise ImageUnavailable(f"the server has sent nothing for {self._patience:.0f} s: {reason}")
            self._pause(pause)
            pause = min(2 * pause, _MAX_PAUSE)

    def _renew_urls(self, expired: ImageUrls, reason: str) -> None:
        """Get new tickets, unless another thread did."""
        if self._renew is None:
            raise TicketExpired(reason)
        with self._lock:
            if self._urls is expired:
                self._urls = self._renew()


def _reason(response: ServerResponse) -> str:
    """What the server says in a response that is an error. Over plain http it may be anyone's text."""
    try:
        error = json.loads(response.body)
        return printable(f"HTTP {response.status}: {error['Message']} ({error['Detail']})")[:_MAX_REASON]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"HTTP {response.status}; check the address"
