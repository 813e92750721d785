"""Uploads as an ASGI application. The steps of a request for a part:

1. path and method, else 404 and 405
2. authorizer: may this client send parts of this upload
3. header: number, digest, coding, length
4. a place among the parts in memory, within the shares of the project and the upload, else 503
5. body, up to its limit
6. in a thread: its digest, its frame, and into the store; only then 201

Requests of an upload by chunks (`chunks.py`) take the same steps, with a digest in their header.

A refused request's body is drained, so that the connection can be used again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from phimage.chunks.errors import StoreFailure
from phimage.chunks.frame import Damaged
from phimage.chunks.store import Store
from phimage.chunks.uploaded_chunks import MAX_ASKED, MAX_FRAMES_BYTES, MAX_SEAL_BYTES, drop_seal
from phimage.chunks.uploads import MAX_FRAME, PART, check_frame, check_job, contiguous, pack_part, parts, put_part
from phimage.errors import NotCached, PhimageError
from phimage.event_log import log
from phimage.http.asgi import Exchange, Message, Receive, Send
from phimage.http.body import BodyLimits, BodyTooLong, BodyTooSlow, ClientGone, RequestBody
from phimage.http.min_rate import MinRate
from phimage.http.places import NoPlace, Places
from phimage.http.response import HttpError, JsonResponse, error_response
from phimage.model.ids import JobId
from phimage.uploads.authorizer import Method, Upload, UploadAccessRequest, UploadAuthorizer
from phimage.uploads.chunks import ChunkUploads
from phimage.uploads.part import BadContentDigest, PartHeader, check_content, part_too_large, read_part_header

_PATH = re.compile(r"/uploads/([^/]+)(?:/(0|[1-9][0-9]{0,6}|need|chunks|seal))?", re.ASCII)
_METHODS: Mapping[str | None, Method] = {None: "GET", "need": "POST", "seal": "POST"}  # PUT for others
_MAX_BODY = {"need": MAX_ASKED * 32, "chunks": MAX_FRAMES_BYTES, "seal": MAX_SEAL_BYTES}
_EXTRA_THREADS = 2  # for authorizing and listing, which must not wait for parts


class UploadLimits(Struct, frozen=True):
    """The resources of uploads in one process."""

    concurrent: int = 12  # parts that are received at the same time
    # A half for one project, a quarter for one upload: what one client of phimage sends at once.
    shares: Mapping[str, float] = MappingProxyType({"project": 0.5, "upload": 0.25})
    storing: int = 3  # of them; each takes up to four times its size for a moment
    wait: float = 10.0  # seconds for one of these places
    # In total: 16 MiB at 150 kbit/s.
    body: BodyLimits = BodyLimits(stall=30.0, total=900.0, drain=10.0, min_rate=MinRate())


def upload_limits(min_rate: MinRate) -> UploadLimits:
    """The default limits with another minimum rate."""
    limits = UploadLimits()
    return replace(limits, body=replace(limits.body, min_rate=min_rate))


class Uploads:
    """The ASGI application for the paths `/uploads/{job}`, and below it a part's number, `need`, `chunks` and `seal`."""

    def __init__(
        self,
        store: Store,
        authorizer: UploadAuthorizer,
        client_address: Callable[[Message], str],
        new_request_id: Callable[[], str],
        limits: UploadLimits | None = None,
    ) -> None:
        """`client_address` reads the client's address from an ASGI scope."""
        self._store = store
        self._authorizer = authorizer
        self._chunks = ChunkUploads(store, authorizer)
        self._client_address = client_address
        self._new_request_id = new_request_id
        self._limits = limits or UploadLimits()
        self._places = Places(self._limits.concurrent, self._limits.shares)
        self._storing = asyncio.Semaphore(self._limits.storing)
        self._threads = ThreadPoolExecutor(self._limits.storing + _EXTRA_THREADS, thread_name_prefix="upload")

    def close(self) -> None:
        """Wait until the received parts are stored, and end the threads. No request may follow."""
        self._threads.shutdown()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send, self._new_request_id())
        body = RequestBody(receive, self._limits.body)
        try:
            try:
                response = await self._answer(exchange, body)
            except PhimageError as error:
                if isinstance(error, StoreFailure):
                    log.warning("upload.failed", reason=str(error))
                response = error_response(error)
            connection_is_usable = await body.drain(MAX_FRAME)
        except ClientGone:
            return
        if not connection_is_usable:
            response = replace(response, headers={**response.headers, "Connection": "close"})
        await exchange.respond(response)

    async def _answer(self, exchange: Exchange, body: RequestBody) -> JsonResponse:
        match = _PATH.fullmatch(exchange.scope["path"])
        job = check_job(match[1]) if match else None
        if match is None or job is None:
            raise HttpError(404, "Not found", "PUT parts to /uploads/<job>/<number>; numbers begin with 0")
        below: str | None = match[2]
        method: Method = _METHODS.get(below, "PUT")
        if exchange.method != method:
            raise HttpError(405, "Method not allowed", f"send {method}", headers={"Allow": method})
        address = self._client_address(exchange.scope)
        upload = await self._authorize(
            UploadAccessRequest(job, method, exchange.query, address, exchange.request_id, wait=False)
        )
        if below is None:
            return await self._in_thread(lambda: self._list(upload.job))
        is_part = below not in _MAX_BODY
        header = read_part_header(int(below) if is_part else 0, exchange.header_fields())
        max_size = header.max_size if is_part else _MAX_BODY[below]
        if header.number * PART >= upload.max_bytes:
            raise _upload_too_large(upload)
        try:
            async with self._places.place_within(self._limits.wait, upload=upload.job, project=upload.holder):
                content = await _read(body, max_size)
                async with self._storing:
                    take = self._store_part if is_part else partial(self._take_chunks, below)
                    return await self._in_thread(lambda: take(upload, header, content))
        except NoPlace as full:
            whose = f"others of this {full.whose}" if full.whose else "other parts"
            raise HttpError(503, "Too many uploads", f"{whose} are being received; send this one again") from None

    async def _authorize(self, request: UploadAccessRequest) -> Upload:
        try:
            return self._authorizer.authorize(request)
        except NotCached:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._authorizer.authorize, replace(request, wait=True))

    async def _in_thread(self, work: Callable[[], JsonResponse]) -> JsonResponse:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _list(self, job: JobId) -> JsonResponse:
        """The parts that are stored."""
        stored = parts(self._store, job)
        rows = [{"Part": part.number, "Size": part.size, "Sha256": part.digest} for part in stored]
        return JsonResponse(200, {"PartSize": PART, "Parts": rows, "Size": contiguous(stored)})

    def _take_chunks(self, below: str, upload: Upload, header: PartHeader, content: bytes) -> JsonResponse:
        """Answer `need`, `chunks` or `seal`. Raises HttpError and StoreFailure."""
        try:
            check_content(content, header.digest)
        except BadContentDigest as error:
            raise HttpError(400, "Wrong digest", str(error)) from None
        takes = {"need": self._chunks.need, "chunks": self._chunks.put, "seal": self._chunks.seal}
        return takes[below](upload, content)

    def _store_part(self, upload: Upload, header: PartHeader, content: bytes) -> JsonResponse:
        """Verify a part against its header and put it into the store. Raises HttpError and StoreFailure."""
        try:
            check_content(content, header.digest)
            # docs/decisions.md#parts-are-stored-as-frames
            packed = check_frame(content) if header.zstd else pack_part(content, header.digest)
        except BadContentDigest as error:
            raise HttpError(400, "Wrong digest", str(error)) from None
        except Damaged as error:
            raise HttpError(400, "Wrong part", str(error)) from None
        if header.number * PART + packed.size > upload.max_bytes:
            raise _upload_too_large(upload)
        drop_seal(self._store, upload.job)  # else the disk that was sealed before would be published in place of this file
        part = put_part(self._store, upload.job, header.number, packed)
        return JsonResponse(201, {"Part": part.number, "Size": part.size})


async def _read(body: RequestBody, max_size: int) -> bytes:
    try:
        return await body.read(max_size)
    except BodyTooLong:
        raise part_too_large() from None
    except BodyTooSlow:
        raise HttpError(408, "Part too slow", "its bytes did not arrive in time; send it again") from None


def _upload_too_large(upload: Upload) -> HttpError:
    return HttpError(413, "Upload too large", f"this upload may have {upload.max_bytes} bytes in all; publish a smaller file")
