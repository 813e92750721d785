"""Downloads as an ASGI application. Its order:

1. path and method, else 404 and 405
2. the door: who asks, and what the image's bytes are
3. the form that the path names, of a disk that is open already or opened in a thread
4. conditions and ranges: 304, 412, 416, or which bytes to send
5. a place: only so many downloads are under way at once
6. the first piece, verified; whatever is wrong until here has a status and a reason
7. header and body; a body that goes wrong later is cut short

Nothing that was not verified is ever sent. A whole zstd file is sent by the server itself from a pack, if there is one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from msgspec.structs import replace

from phimage.chunks.errors import BadChunk, StoreFailure
from phimage.chunks.store import Store
from phimage.delivery.answer import of_error
from phimage.delivery.authorizer import DownloadAccessRequest, DownloadAuthorizer
from phimage.delivery.counters import Counters
from phimage.delivery.disks import Disks
from phimage.delivery.errors import NotPublished, PutAgain
from phimage.delivery.exchange import Exchange
from phimage.delivery.frames import Frames
from phimage.delivery.packing import Packing
from phimage.delivery.packs import Packs
from phimage.delivery.reply import Reply, choose
from phimage.delivery.representation import Representation, Text
from phimage.delivery.stream import Body, End, Limits, Message, Receive, Send, send_body
from phimage.errors import NotCached, PhimageError
from phimage.model.ids import ImageId
from phimage.model.image import State
from phimage.model.image_bytes import ImageBytes
from phimage.refusal import Answer, again_later, refusal

log = structlog.get_logger()

Result = TypeVar("Result")

_PATH = re.compile(r"/images/([A-Za-z0-9][A-Za-z0-9._-]{0,99}?)(\.raw|\.raw\.zst|\.qcow2|\.sha256|/manifest)", re.ASCII)
_THREADS_BESIDE = 4  # for doors and for opening disks, which must not wait for pieces


class Delivery:
    """The ASGI application for the paths `/images/{id}.raw`, `.raw.zst`, `.qcow2`, `.sha256` and `/images/{id}/manifest`."""

    def __init__(
        self,
        store: Store,
        authorizer: DownloadAuthorizer,
        address: Callable[[Message], str],
        new_request_id: Callable[[], str],
        packs: Packs | None = None,
        at_once: int = 64,
        limits: Limits | None = None,
    ) -> None:
        """`address` tells the caller's from a scope of ASGI. `at_once` downloads are sent at the same time; more get 503."""
        self.counters = Counters()
        self._authorizer = authorizer
        self._address = address
        self._new_request_id = new_request_id
        self._packing = Packing(packs, self.counters) if packs is not None else None
        self._at_once = at_once
        self._limits = limits or Limits()
        self._disks = Disks(store)
        self._sending = 0
        self._pieces = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="deliver")
        self._threads = ThreadPoolExecutor(_THREADS_BESIDE, thread_name_prefix="deliver-open")

    def close(self) -> None:
        """End the threads; a pack that is being made is given up. No request after it."""
        if self._packing is not None:
            self._packing.close()
        self._pieces.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = self._new_request_id()
        exchange = Exchange(scope, receive, send, request_id)
        found = _PATH.fullmatch(scope["path"])
        if found is None:
            forms = "<id>.raw, <id>.raw.zst, <id>.qcow2, <id>.sha256 and <id>/manifest"
            await exchange.answer(refusal(404, "Not found", f"an image has {forms}"))
        elif scope["method"] not in ("GET", "HEAD"):
            allow = {"Allow": "GET, HEAD"}
            await exchange.answer(refusal(405, "Method not allowed", "only GET and HEAD are answered here", headers=allow))
        else:
            await self._answer(exchange, ImageId(found[1]), found[2])

    async def _answer(self, exchange: Exchange, image: ImageId, form: str) -> None:
        scope = exchange.scope
        query = scope["query_string"].decode("utf-8", "replace")
        address = self._address(scope)
        try:
            asked = DownloadAccessRequest(
                image, exchange.method, scope["path"], query, address, exchange.request_id, wait=False
            )
            content = await self._open(asked)
            representation = await self._represent(content, form)
        except PhimageError as error:
            await exchange.answer(self._failed(error, image))
            return
        filename = f"{image}{form.replace('/', '.')}"
        boundary = exchange.request_id
        reply = choose(representation, exchange.headers(), exchange.method, content.published, filename, boundary)
        if isinstance(reply, Answer):
            await exchange.answer(reply)
        elif exchange.method == "HEAD" or not reply.parts:
            await exchange.start(reply.status, reply.headers)
            await exchange.end()
        elif self._sending >= self._at_once:
            self.counters.refused += 1
            await exchange.answer(again_later("Too many downloads", "others are being sent; ask again", {"ImageId": image}))
        else:
            self._sending += 1
            try:
                await self._send(exchange, image, form, representation, reply)
            finally:
                self._sending -= 1

    async def _open(self, asked: DownloadAccessRequest) -> ImageBytes:
        try:
            content = self._authorizer.open(asked)
        except NotCached:
            content = await self._in_thread(lambda: self._authorizer.open(replace(asked, wait=True)))
        if not content.manifest:
            raise NotPublished(content.image, State.UNAVAILABLE if content.failure else State.MAKING)
        return content

    async def _represent(self, content: ImageBytes, form: str) -> Representation:
        if form == ".sha256":
            line = f"{content.sha256}  {content.image}.raw\n"
            return Text(line.encode("ascii"), f'"{content.sha256}-sha256"', "text/plain; charset=utf-8")
        digest = content.manifest
        disk = self._disks.known(digest)
        if disk is None:
            disk = await self._in_thread(lambda: self._disks.open(digest))
        match form:
            case ".raw":
                return disk.raw
            case ".qcow2":
                return disk.qcow2
            case ".raw.zst":
                return disk.measured if disk.measured is not None else await self._in_thread(disk.frames)
            case _:
                return await self._in_thread(disk.manifest)

    async def _send(self, exchange: Exchange, image: ImageId, form: str, representation: Representation, reply: Reply) -> None:
        if self._packing is not None and isinstance(representation, Frames) and reply.status == 200:
            pack = self._packing.find(representation)
            if pack is None:
                self._packing.make(representation)
            elif exchange.sends_files:
                self._count(form, pack.size)
                self.counters.packs_sent += 1
                await exchange.start(reply.status, reply.headers)
                await exchange.send_file(str(pack.path))
                return
        prefetch = max(1, self._limits.ahead_bytes // representation.piece_bytes)
        body = Body(reply.pieces(representation), self._pieces, prefetch)
        try:
            try:
                await body.prepare()
            except PhimageError as error:
                await exchange.answer(self._failed(error, image))
                return
            self._count(form, 0)
            await exchange.start(reply.status, reply.headers)
            await self._finish(exchange, image, body)
        finally:
            body.close()

    async def _finish(self, exchange: Exchange, image: ImageId, body: Body) -> None:
        try:
            end = await send_body(body, exchange.receive, exchange.send, self._limits.stall, self._count_bytes)
        except PhimageError as error:
            self._failed(error, image)
            log.error("download.cut", image=image, request_id=exchange.request_id, reason=str(error))
            return
        if end is End.STALLED:
            self.counters.stalled += 1
            log.warning("download.stalled", image=image, request_id=exchange.request_id, seconds=self._limits.stall)
        elif end is End.LEFT:
            self.counters.left += 1

    def _failed(self, error: PhimageError, image: ImageId) -> Answer:
        """Count and tell what is wrong with the bytes, and make the answer."""
        if isinstance(error, BadChunk):
            self.counters.bad_chunks += 1
            place = {"manifest": error.manifest, "chunk": error.chunk, "index": error.index, "offset": error.offset}
            log.error("chunk.bad", image=image, kind=error.kind, reason=error.reason, **place)
        elif isinstance(error, StoreFailure):
            log.warning("store.failed", image=image, reason=str(error))
        if isinstance(error, PutAgain):
            self._disks.forget(error.manifest)
        return of_error(error, image)

    def _count(self, form: str, size: int) -> None:
        self.counters.downloads[form] = self.counters.downloads.get(form, 0) + 1
        self.counters.bytes_sent += size

    def _count_bytes(self, size: int) -> None:
        self.counters.bytes_sent += size

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
