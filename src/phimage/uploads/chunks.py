"""Uploads by chunks: which chunks are needed, the frames of these, and the list of all chunks that seals the disk.

A client may rely on chunks that it could read anyway: those of base images, of its project's images, and its own. Any other one
is needed, whether the store has it or not, so that nobody can find out or claim what others have.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from phimage.chunks.errors import BadManifest
from phimage.chunks.frame import Damaged
from phimage.chunks.layout import CHUNK_SIZE, ChunkDigest, ManifestDigest, chunk_count, chunk_name
from phimage.chunks.manifest import Manifest, load_manifest
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import Store
from phimage.chunks.uploaded_chunks import is_sent, put_frames, put_seal, read_digests, read_frames, read_seal, sent_chunks
from phimage.chunks.uploads import UPLOADS
from phimage.http.response import HttpError, JsonResponse
from phimage.lru import Lru
from phimage.model.ids import JobId
from phimage.uploads.authorizer import Upload, UploadAuthorizer

MAX_IMAGES: Final = 64
"""Images whose chunks are known, the likeliest ones: a disk resembles what its host has, or the last versions of an image."""

MAX_DIGESTS: Final = 1_000_000
"""Chunks that all cached manifests name together, 32 bytes each: a manifest may have two million of them."""

ALIVE_SECONDS: Final = 600.0
"""Seconds of questions after which one is noted: some of them fit into the hour after which an upload is idle."""

_JOBS: Final = 16
_CONCURRENCY: Final = 8
_FEW: Final = 64
"""Chunks that are looked for one by one."""


class ChunkUploads:
    """The requests of uploads by chunks, in threads: each may read and write the store. Raises HttpError and StoreFailure."""

    def __init__(
        self,
        store: Store,
        authorizer: UploadAuthorizer,
        max_digests: int = MAX_DIGESTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_digests`: of all manifests that are cached. `clock` is monotonic."""
        self._store = store
        self._authorizer = authorizer
        self._manifests: Lru[ManifestDigest, Manifest] = Lru(max_digests)
        self._min_weight = max_digests // MAX_IMAGES
        self._sent: Lru[JobId, set[ChunkDigest]] = Lru(_JOBS)
        self._alive: Lru[JobId, float] = Lru(_JOBS)  # when an upload was last known to be
        self._clock = clock
        self._lock = threading.Lock()

    def need(self, upload: Upload, body: bytes) -> JsonResponse:
        """Which of the asked digests must be sent: a bit for each, the least significant bit of the first byte first."""
        try:
            asked = read_digests(body)
        except ValueError as error:
            raise HttpError(400, "Wrong question", f"{error}; send the SHA-256 of chunks") from None
        self._keep_alive(upload.job)
        self._refresh(upload.job, set(asked))
        known = self._known(upload, set(asked))
        bits = bytearray(-(-len(asked) // 8))
        for number, digest in enumerate(asked):
            if digest not in known:
                bits[number >> 3] |= 1 << (number & 7)
        return JsonResponse(200, {"Need": base64.b64encode(bits).decode("ascii")})

    def put(self, upload: Upload, body: bytes) -> JsonResponse:
        """Verify and keep frames."""
        try:
            frames = read_frames(body)
        except Damaged as error:
            raise HttpError(400, "Wrong chunks", f"{error}; send them again") from None
        sent = self._sent_by(upload.job)
        digests = {each.digest for each in frames}
        with self._lock:
            count = len(sent | digests)
        if count > chunk_count(upload.max_bytes, CHUNK_SIZE):
            raise HttpError(413, "Upload too large", f"this upload may have {upload.max_bytes} bytes in all")
        put_frames(self._store, upload.job, frames)
        with self._lock:
            sent |= digests
        return JsonResponse(201, {"Chunks": len(frames)})

    def seal(self, upload: Upload, body: bytes) -> JsonResponse:
        """Keep the list of all chunks, each of which must be known. May be repeated."""
        try:
            disk = read_seal(body)
        except ValueError as error:
            raise HttpError(400, "Wrong manifest", f"{error}; see the store format") from None
        if disk.size > upload.max_bytes:
            raise HttpError(413, "Upload too large", f"this upload may have {upload.max_bytes} bytes in all")
        with self._lock:
            self._sent.remove(upload.job)
        named = {digest for _, digest in disk.stored()}
        # Not looked up in the store: 100,000 may be of images. A collection keeps those, and a publisher reads them.
        sent = self._sent_by(upload.job)
        with self._lock:
            left = named - sent
        missing = left - self._of_images(upload, left)
        if missing:
            detail = f"{len(missing)} chunks are missing, the first is {min(missing).hex()}; ask again which are needed"
            raise HttpError(409, "Chunks missing", detail)
        put_seal(self._store, upload.job, body)
        return JsonResponse(201, {"Size": disk.size, "Chunks": len(named)})

    def _keep_alive(self, job: JobId) -> None:
        """Note now and then that a client asks, or the upload of a large disk that the server mostly has would end as idle."""
        now = self._clock()
        with self._lock:
            since = self._alive.get(job)
            is_due = since is not None and now - since >= ALIVE_SECONDS
            if since is None or is_due:
                self._alive.put(job, now)
        if is_due:
            self._store.put(f"{UPLOADS}/{job}/asked", b"")

    def _refresh(self, job: JobId, asked: set[ChunkDigest]) -> None:
        """Look which of the asked chunks are there: another server may have received more."""
        if len(asked) > _FEW:
            with self._lock:
                self._sent.remove(job)
            return
        # A listing of all chunks for each question would make long uploads slow.
        look = list(asked)
        found = prefetch(lambda chunk: is_sent(self._store, job, chunk), look, _CONCURRENCY)
        present = {chunk for chunk, is_there in zip(look, found, strict=True) if is_there}
        sent = self._sent_by(job)
        with self._lock:
            sent -= asked - present
            sent |= present

    def _known(self, upload: Upload, asked: Collection[ChunkDigest]) -> set[ChunkDigest]:
        """Those of the asked chunks that the upload may rely on and that are in the store."""
        sent = self._sent_by(upload.job)
        with self._lock:
            known = set(asked) & sent
        found = list(self._of_images(upload, set(asked) - known))
        present = prefetch(lambda chunk: self._store.find(chunk_name(chunk)) is not None, found, _CONCURRENCY)
        return known | {chunk for chunk, is_there in zip(found, present, strict=True) if is_there}

    def _of_images(self, upload: Upload, asked: Collection[ChunkDigest]) -> set[ChunkDigest]:
        """Those of the asked chunks that images have which the upload may rely on."""
        left, found = set(asked), set[ChunkDigest]()
        for digest in self._authorizer.manifests(upload)[:MAX_IMAGES] if left else ():
            with suppress(BadManifest):  # a damaged image is its operator's matter
                found.update(chunk for _, chunk in self._manifest(digest).stored() if chunk in left)
                left -= found
            if not left:
                break
        return found

    def _manifest(self, digest: ManifestDigest) -> Manifest:
        with self._lock:
            manifest = self._manifests.get(digest)
        if manifest is None:
            manifest = load_manifest(self._store, digest)
            digests = sum(run.stop - run.first for run in manifest.runs)
            with self._lock:
                self._manifests.put(digest, manifest, max(digests, self._min_weight))
        return manifest

    def _sent_by(self, job: JobId) -> set[ChunkDigest]:
        with self._lock:
            sent = self._sent.get(job)
        if sent is None:
            sent = sent_chunks(self._store, job)
            with self._lock:
                self._sent.put(job, sent)
        return sent
