"""Uploads as an ASGI application. Its order for a part:

1. path and method, else 404 and 405
2. the door: who asks, and for which job
3. what the header announces: number, digest, coding, length
4. a place: only so many parts are in memory at once
5. the body, up to its limit
6. in a thread: its digest, its frame, and into the store; only then 201

Who is refused before the body was read has it read and forgotten, so that the connection can be used again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import structlog
from msgspec.structs import replace

from phimage.chunks.errors import StoreFailure
from phimage.chunks.frame import Damaged
from phimage.chunks.store import Store
from phimage.chunks.uploads import MAX_FRAME, PART, check_frame, check_job, contiguous, pack_part, parts, put_part
from phimage.errors import NotCached, RequestError
from phimage.model.ids import JobId
from phimage.refusal import Answer, again_later, of_request_error, refusal
from phimage.uploads.announced import Announced, read_announced
from phimage.uploads.answer import Refused, of_store_failure
from phimage.uploads.authorizer import Closed, Method, Upload, UploadAccessRequest, UploadAuthorizer
from phimage.uploads.body import Body, Gone, Limits, Message, Receive, Send, TooLong, TooSlow
from phimage.uploads.digest import WrongDigest, check_content

log = structlog.get_logger()

_PATH = re.compile(r"/uploads/([^/]+)(?:/(0|[1-9][0-9]{0,6}))?", re.ASCII)
_THREADS_BESIDE = 2  # for doors and listings, which must not wait for parts


class Uploads:
    """The ASGI application for the paths `/uploads/{job}` and `/uploads/{job}/{number}`."""

    def __init__(
        self,
        store: Store,
        authorizer: UploadAuthorizer,
        address: Callable[[Message], str],
        new_request_id: Callable[[], str],
        limits: Limits | None = None,
    ) -> None:
        """`address` tells the caller's from a scope of ASGI."""
        self._store = store
        self._authorizer = authorizer
        self._address = address
        self._new_request_id = new_request_id
        self._limits = limits or Limits()
        self._places = asyncio.Semaphore(self._limits.at_once)
        self._threads = ThreadPoolExecutor(self._limits.at_once + _THREADS_BESIDE, thread_name_prefix="upload")

    def close(self) -> None:
        """Wait until the parts that came are kept, and end the threads. No request after it."""
        self._threads.shutdown()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_id = self._new_request_id()
        body = Body(receive, self._limits)
        try:
            try:
                answer = await self._answer(scope, body, request_id)
            except Refused as refused:
                answer = refused.answer
            ended = await body.forget(MAX_FRAME)
        except Gone:
            return
        if not ended:
            answer = replace(answer, headers={**answer.headers, "Connection": "close"})
        await _respond(send, answer, request_id)

    async def _answer(self, scope: Message, body: Body, request_id: str) -> Answer:
        found = _PATH.fullmatch(scope["path"])
        job = check_job(found[1]) if found else None
        if found is None or job is None:
            raise Refused(refusal(404, "Not found", "parts are put to /uploads/<job>/<number>; numbers begin with 0"))
        allowed: Method = "GET" if found[2] is None else "PUT"
        if scope["method"] != allowed:
            raise Refused(refusal(405, "Method not allowed", f"only {allowed} is answered here", headers={"Allow": allowed}))
        query = scope["query_string"].decode("utf-8", "replace")
        upload = await self._open(UploadAccessRequest(job, allowed, query, self._address(scope), request_id, wait=False))
        if found[2] is None:
            return await self._in_thread(lambda: self._tell(upload.job))
        announced = read_announced(int(found[2]), scope["headers"])
        if announced.number * PART >= upload.max_bytes:
            raise Refused(_too_large(upload))
        async with self._place():
            content = await _read(body, announced)
            return await self._in_thread(lambda: self._keep(upload, announced, content))

    async def _open(self, asked: UploadAccessRequest) -> Upload:
        try:
            try:
                return self._authorizer.open(asked)
            except NotCached:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, self._authorizer.open, replace(asked, wait=True))
        except RequestError as error:
            raise Refused(of_request_error(error)) from None
        except Closed as closed:
            raise Refused(refusal(409, "Upload closed", str(closed))) from None

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """A place among the parts that are in memory."""
        try:
            async with asyncio.timeout(self._limits.wait):
                await self._places.acquire()
        except TimeoutError:
            raise Refused(again_later("Too many uploads", "other parts are being received; send this one again")) from None
        try:
            yield
        finally:
            self._places.release()

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except StoreFailure as failure:
            log.warning("upload.failed", reason=str(failure))
            return of_store_failure(failure)

    def _tell(self, job: JobId) -> Answer:
        """What has come."""
        found = parts(self._store, job)
        told = [{"Part": part.number, "Size": part.size, "Sha256": part.digest} for part in found]
        return Answer(200, {"PartSize": PART, "Parts": told, "Size": contiguous(found)})

    def _keep(self, upload: Upload, announced: Announced, content: bytes) -> Answer:
        """Put a part into the store, if it is what its header announced."""
        try:
            check_content(content, announced.digest)
            packed = check_frame(content) if announced.zstd else pack_part(content, announced.digest)
        except WrongDigest as error:
            return refusal(400, "Wrong digest", str(error))
        except Damaged as error:
            return refusal(400, "Wrong part", str(error))
        if announced.number * PART + packed.size > upload.max_bytes:
            return _too_large(upload)
        part = put_part(self._store, upload.job, announced.number, packed)
        return Answer(201, {"Part": part.number, "Size": part.size})


async def _read(body: Body, announced: Announced) -> bytes:
    try:
        return await body.read(announced.max_size)
    except TooLong:
        raise Refused(refusal(413, "Part too large", f"a part has at most {PART} bytes, a frame {MAX_FRAME}")) from None
    except TooSlow:
        raise Refused(refusal(408, "Part too slow", "its bytes did not come in time; send it again")) from None


def _too_large(upload: Upload) -> Answer:
    return refusal(413, "Upload too large", f"this upload may have {upload.max_bytes} bytes in all")


async def _respond(send: Send, answer: Answer, request_id: str) -> None:
    body = answer.body
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-UCLOUD-REQUEST-UUID": request_id,
        **answer.headers,
    }
    told = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": told})
    await send({"type": "http.response.body", "body": body})
