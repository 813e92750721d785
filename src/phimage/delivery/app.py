"""Downloads as an ASGI application. The steps of a request:

1. path and method, else 404 and 405
2. authorizer: may this client download the image, and which bytes are its
3. the form in the path, of a disk that is open or is opened in a thread
4. conditions and ranges: 304, 412, 416, or the bytes to send
5. a place among the concurrent downloads, within the shares of URL, project and account, else 503
6. the first piece, verified; until here every error has a status and a reason
7. header and body; a body that fails later is cut short

No unverified byte is sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from msgspec.structs import replace

from phimage.chunks.errors import BadChunk, StoreFailure
from phimage.chunks.store import Store
from phimage.delivery.authorizer import DownloadAccessRequest, DownloadAuthorizer, DownloadGrant, NotPublished
from phimage.delivery.disks import DiskCache, OpenDisk
from phimage.delivery.frame_list_maker import FrameListMaker
from phimage.delivery.reply import Reply, choose_reply
from phimage.delivery.representation import InMemory, Representation
from phimage.delivery.shared_reads import SharedReads
from phimage.delivery.stream import BodyStream, DownloadLimits, End, send_body
from phimage.delivery.zstd_disk import FrameChanged, ZstdDisk
from phimage.errors import NotCached, PhimageError, RequestError
from phimage.event_log import log
from phimage.http.asgi import Exchange, Message, Receive, Send
from phimage.http.counters import DownloadCounters
from phimage.http.places import NoPlace, Places
from phimage.http.response import HttpError, error_response
from phimage.http.signature_limit import SignatureLimit
from phimage.model.ids import ImageId
from phimage.model.image import State
from phimage.model.image_bytes import ImageBytes

Result = TypeVar("Result")

_PATH = re.compile(r"/images/([A-Za-z0-9][A-Za-z0-9._-]{0,99}?)(\.raw|\.raw\.zst|\.qcow2|\.sha256|/frames|/manifest)", re.ASCII)
# docs/decisions.md#browsers-run-nothing-that-phimage-sends
_SANDBOX = ((b"content-security-policy", b"default-src 'none'; sandbox"),)
_THREADS = 4  # for authorizing and opening disks, which must not wait for pieces


class Delivery:
    """The ASGI application for the paths `/images/{id}.raw`, `.raw.zst`, `.qcow2`, `.sha256`, and `/images/{id}/manifest` and
    `/frames`."""

    def __init__(
        self,
        store: Store,
        authorizer: DownloadAuthorizer,
        client_address: Callable[[Message], str],
        new_request_id: Callable[[], str],
        limits: DownloadLimits | None = None,
        signature_limit: SignatureLimit | None = None,
    ) -> None:
        """`client_address` reads the client's address from an ASGI scope."""
        self.counters = DownloadCounters()
        self._authorizer = authorizer
        self._client_address = client_address
        self._new_request_id = new_request_id
        self._frame_lists = FrameListMaker(store, self.counters)
        self._limits = limits or DownloadLimits()
        self._signature_limit = signature_limit
        self._reads = SharedReads(store, self._limits.shared_bytes)
        self._disks = DiskCache(store, self._reads)
        self._places = Places(self._limits.concurrent, self._limits.shares)
        self._pieces = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="deliver")
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="deliver-open")

    def close(self) -> None:
        """End the threads. No request may follow."""
        self._frame_lists.close()
        self._pieces.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send, self._new_request_id(), _SANDBOX)
        match = _PATH.fullmatch(scope["path"])
        try:
            if match is None:
                forms = "<id>.raw, <id>.raw.zst, <id>.qcow2, <id>.sha256, <id>/manifest and <id>/frames"
                raise HttpError(404, "Not found", f"an image has {forms}")
            if exchange.method not in ("GET", "HEAD"):
                raise HttpError(405, "Method not allowed", "send GET or HEAD", headers={"Allow": "GET, HEAD"})
            await self._deliver(exchange, ImageId(match[1]), match[2])
        except PhimageError as error:
            image = ImageId(match[1]) if match else ImageId("")
            await self._note(error, image)
            about = {"ImageId": image} if match else {}
            await exchange.respond(error_response(self._limited(error, scope), about))

    def _limited(self, error: PhimageError, scope: Message) -> PhimageError:
        """The error, or another one for an address that sent too many wrong signatures."""
        if self._signature_limit is None or not isinstance(error, RequestError):
            return error
        return self._signature_limit.refusal(error.ret_code, scope) or error

    async def _deliver(self, exchange: Exchange, image: ImageId, form: str) -> None:
        """Send the bytes. Raises PhimageError before the header is sent."""
        download = await self._authorize(exchange, image)
        image_bytes = download.image_bytes
        representation = await self._represent(image_bytes, form)
        filename = f"{image}{form.replace('/', '.')}"
        fields, boundary = exchange.header_fields(), exchange.request_id
        reply = choose_reply(representation, fields, exchange.method, image_bytes.published, filename, boundary)
        if exchange.method == "HEAD" or not reply.parts:
            await exchange.start(reply.status, reply.headers)
            await exchange.end()
            return
        try:
            place = self._places.place(URL=download.permit, project=download.holder, account=download.account)
            with place, self._reads.download(image_bytes.manifest, of_part=reply.status == 206):
                await self._send(exchange, image, form, representation, reply)
        except NoPlace as full:
            self.counters.refused += 1
            whose = f"others of this {full.whose}" if full.whose else "other downloads"
            raise HttpError(503, "Too many downloads", f"{whose} are being sent; send the request again") from None

    async def _authorize(self, exchange: Exchange, image: ImageId) -> DownloadGrant:
        request = DownloadAccessRequest(
            image,
            "HEAD" if exchange.method == "HEAD" else "GET",
            exchange.scope["path"],
            exchange.query,
            self._client_address(exchange.scope),
            exchange.request_id,
            wait=False,
        )
        try:
            download = self._authorizer.authorize(request)
        except NotCached:
            download = await self._in_thread(lambda: self._authorizer.authorize(replace(request, wait=True)))
        if not download.image_bytes.manifest:
            raise NotPublished(image, State.UNAVAILABLE if download.image_bytes.failure else State.MAKING)
        return download

    async def _represent(self, image_bytes: ImageBytes, form: str) -> Representation:
        if form == ".sha256":
            line = f"{image_bytes.sha256}  {image_bytes.image}.raw\n"
            return InMemory(line.encode("ascii"), f'"{image_bytes.sha256}-sha256"', "text/plain; charset=utf-8")
        digest = image_bytes.manifest
        disk = self._disks.get(digest)
        if disk is None:
            disk = await self._in_thread(lambda: self._disks.open(digest))
        match form:
            case ".raw":
                return disk.raw
            case ".qcow2":
                return disk.qcow2
            case ".raw.zst":
                return await self._zstd(disk)
            case "/frames":
                return await self._listing(disk)
            case _:
                return await self._in_thread(disk.manifest)

    async def _zstd(self, disk: OpenDisk) -> ZstdDisk:
        zstd = disk.measured if disk.measured is not None else await self._in_thread(disk.zstd)
        if zstd.frames is None:
            self._frame_lists.make(disk)
        return zstd

    async def _listing(self, disk: OpenDisk) -> InMemory:
        zstd = await self._zstd(disk)
        frames = zstd.frames
        if frames is None:
            raise HttpError(503, "Frames not listed yet", "they are being listed now; send the request again")
        return await self._in_thread(lambda: zstd.listing(frames))

    async def _send(self, exchange: Exchange, image: ImageId, form: str, representation: Representation, reply: Reply) -> None:
        prefetch = max(1, self._limits.prefetch_bytes // representation.piece_bytes)
        body = BodyStream(reply.pieces(representation), self._pieces, prefetch)
        try:
            await body.prepare()
            self._count(form)
            await exchange.start(reply.status, reply.headers)
            await self._stream(exchange, image, body)
        finally:
            body.close()

    async def _stream(self, exchange: Exchange, image: ImageId, body: BodyStream) -> None:
        sent = 0

        def count(size: int) -> None:
            nonlocal sent
            sent += size
            self.counters.bytes_sent += size

        try:
            end = await send_body(body, exchange.receive, exchange.send, self._limits, count)
        except PhimageError as error:
            await self._note(error, image)
            resume = f"the client asks for the rest with Range: bytes={sent}-, counted from the first byte of this response"
            about = {"image": image, "request_id": exchange.request_id, "sent": sent}
            log.error("download.cut", **about, reason=str(error), resume=resume)
            return
        if end is End.STALLED:
            self.counters.stalled += 1
            log.warning("download.stalled", image=image, request_id=exchange.request_id)
        elif end is End.LEFT:
            self.counters.left += 1

    async def _note(self, error: PhimageError, image: ImageId) -> None:
        """Count and log an error of the bytes, and drop the cached disk that it concerns."""
        if isinstance(error, BadChunk):
            self.counters.bad_chunks += 1
            place = {"manifest": error.manifest, "chunk": error.chunk, "index": error.index, "offset": error.offset}
            log.error("chunk.bad", image=image, kind=error.kind, reason=error.reason, **place)
        elif isinstance(error, StoreFailure):
            log.warning("store.failed", image=image, reason=str(error))
        if isinstance(error, FrameChanged):
            # Before the response: a client that sends its request again must not meet the old list.
            await self._frame_lists.discard(error.manifest)
            self._disks.forget(error.manifest)
            self._reads.forget(error.name)

    def _count(self, form: str) -> None:
        self.counters.downloads[form] = self.counters.downloads.get(form, 0) + 1

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
