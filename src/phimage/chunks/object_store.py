"""A store in a bucket of any S3 object store.

An object is always put with one request, so the server never holds an unfinished upload. Every request ends within a minute;
removals by age end within seconds and are never retried, which `settle_seconds` relies on.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from msgspec import Struct
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store as Remote

from phimage.chunks.errors import Absent, Reason, StoreFailure
from phimage.chunks.prefetch import prefetch
from phimage.chunks.store import MAX_OBJECT_BYTES, Stored, check_name, check_prefix

if TYPE_CHECKING:  # obstore defines them for type checkers only
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, S3Config

REQUEST_SECONDS = 60
DELETE_SECONDS = 5
CONNECT_SECONDS = 5
_ROUNDED_SECONDS = 1.0  # S3 truncates times to whole seconds
_PAGE = 1000
_PUTS = 4
"""Concurrent requests of one `put_all`."""
_AFTER_ALL = "~"
_STATUS = re.compile(r"status code: (\d{3})")
_REASONS: dict[str, Reason] = {"401": "not permitted", "403": "not permitted", "507": "no space"}
_PASSING_STATUS = frozenset({"408", "429", "500", "502", "503", "504"})


class BucketAddress(Struct, frozen=True):
    """The address of a store. Empty fields come from the AWS_* variables, as in every S3 client."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""


class Credentials(Struct, frozen=True):
    """Explicit keys, instead of the AWS_* variables."""

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return "Credentials(***)"


class S3Store:
    """Objects under a prefix of a bucket, which must exist. The constructor sends no request."""

    settle_seconds = 20.0  # DELETE_SECONDS for the client, the rest for a request that the server is still processing

    def __init__(
        self, address: BucketAddress, credentials: Credentials | None = None, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        self._place = address
        self._remote = self._client(credentials, request_seconds)
        self._impatient = self._client(credentials, min(DELETE_SECONDS, request_seconds))

    def _client(self, credentials: Credentials | None, seconds: float) -> Remote:
        config: S3Config = {"bucket": self._place.bucket}
        if self._place.endpoint:
            config["endpoint"] = self._place.endpoint
        if self._place.region:
            config["region"] = self._place.region
        if credentials is not None:
            config["access_key_id"] = credentials.access_key
            config["secret_access_key"] = credentials.secret_key
        options: ClientConfig = {
            "allow_http": self._place.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, seconds)),
            "timeout": timedelta(seconds=seconds),
        }
        return Remote(
            prefix=self._place.prefix or None,
            config=config,
            client_options=options,
            retry_config={"max_retries": 0},  # `decorators.retrying` retries, where that is safe
        )

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        check_name(name)
        if len(data) > MAX_OBJECT_BYTES:
            raise StoreFailure("put", name, "too large")
        with _translated_errors("put", name):
            obstore.put(self._remote, name, data, use_multipart=False)

    def put_all(self, objects: Sequence[tuple[str, bytes]]) -> None:
        """See Store."""
        for _ in prefetch(lambda each: self.put(*each), objects, min(_PUTS, len(objects))):
            pass

    def get(self, name: str) -> bytes:
        """See Store."""
        check_name(name)
        with _translated_errors("get", name, absent=True):
            answer = obstore.get(self._remote, name)
            if answer.meta["size"] > MAX_OBJECT_BYTES:
                raise StoreFailure("get", name, "too large")
            return bytes(answer.bytes())

    def find(self, name: str) -> Stored | None:
        """See Store."""
        return self._look("find", self._remote, check_name(name))

    def refresh(self, name: str, since: float) -> Stored | None:
        """See Store. S3 does not copy an object onto itself, so it is copied aside and back, inside the server."""
        stored = self._look("refresh", self._remote, check_name(name))
        if stored is None or stored.modified >= since:
            return stored
        aside = f".tmp/{secrets.token_hex(16)}"
        try:
            with _translated_errors("refresh", name, absent=True):
                obstore.copy(self._remote, name, aside)
        except Absent:
            return None
        try:
            with _translated_errors("refresh", name):
                obstore.copy(self._remote, aside, name)
        finally:
            with suppress(StoreFailure), _translated_errors("refresh", name):  # otherwise `tidy` removes it
                obstore.delete(self._remote, aside)
        return self._look("refresh", self._remote, name)

    def delete(self, name: str, before: float | None = None) -> bool:
        """See Store."""
        check_name(name)
        if before is not None:
            asked_at = time.monotonic()
            stored = self._look("delete", self._impatient, name)
            if stored is None:
                return True
            if stored.modified >= before or time.monotonic() - asked_at > DELETE_SECONDS:
                return False  # young, or the check is outdated because this process was paused
        with _translated_errors("delete", name), suppress(FileNotFoundError):
            obstore.delete(self._impatient, name)
        return True

    def delete_old(self, names: Sequence[str], before: float) -> Sequence[str]:
        """See Store. Reads the times from listings, and removes with one request what one listing has shown."""
        left, absent = sorted(map(check_name, names), reverse=True), []
        while left:
            asked_at = time.monotonic()
            shown, end = self._shown_from(left[-1])
            here = []
            while left and left[-1] < end:
                here.append(left.pop())
            if time.monotonic() - asked_at > DELETE_SECONDS:
                continue  # the listing is outdated
            absent += [name for name in here if name not in shown]
            absent += self._delete_shown([name for name in here if name in shown and shown[name] < before], before)
        return absent

    def _delete_shown(self, names: Sequence[str], before: float) -> Sequence[str]:
        if not names:
            return ()
        try:
            with _translated_errors("delete", names[0]):
                obstore.delete(self._impatient, names)
        except StoreFailure:  # of a server without this request, or of one object: one by one, which shows the reason
            return [name for name in names if self.delete(name, before)]
        return names

    def _shown_from(self, name: str) -> tuple[dict[str, float], str]:
        """The modification times in a page of the listing of a name's folder, from this name on, and the end of the page."""
        folder = name.rpartition("/")[0]
        with _translated_errors("list", name):
            pages = obstore.list(self._impatient, folder or None, offset=name[:-1] or None, chunk_size=_PAGE)
            page = next(iter(pages), ())
        shown = {meta["path"]: _modified(meta) for meta in page}
        if len(page) < _PAGE:
            return shown, f"{folder}0" if folder else _AFTER_ALL  # 0 comes after /
        return shown, max(name, page[-1]["path"]) + "\0"

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See Store."""
        check_prefix(prefix)
        for path, size, modified in self._pages(prefix or None):
            with suppress(ValueError):  # hidden, or foreign
                yield Stored(check_name(path), size, modified)

    def sync(self, names: Iterable[str]) -> None:
        """See Store."""

    def path(self, name: str) -> Path | None:
        """See Store."""
        check_name(name)
        return None

    def free_bytes(self) -> int | None:
        """See Store."""
        return None

    def tidy(self, before: float) -> int:
        """See Store. Only refreshes leave objects; multipart uploads, which would too, are never used."""
        left = [path for path, _, modified in self._pages(".tmp") if modified < before]
        for path in left:
            with _translated_errors("tidy", path), suppress(FileNotFoundError):
                obstore.delete(self._remote, path)
        return len(left)

    def describe(self) -> str:
        """See Store."""
        address = "/".join(part for part in (self._place.bucket, self._place.prefix) if part)
        return f"s3://{address}" + (f" at {self._place.endpoint}" if self._place.endpoint else "")

    def close(self) -> None:
        """See Store."""

    def _look(self, operation: str, client: Remote, name: str) -> Stored | None:
        try:
            with _translated_errors(operation, name, absent=True):
                meta = obstore.head(client, name)
        except Absent:
            return None
        return Stored(name, meta["size"], _modified(meta))

    def _pages(self, prefix: str | None) -> Iterator[tuple[str, int, float]]:
        pages = iter(obstore.list(self._remote, prefix, chunk_size=_PAGE))
        while True:
            with _translated_errors("list", prefix or ""):
                page = next(pages, None)
            if page is None:
                return
            for meta in page:
                yield meta["path"], meta["size"], _modified(meta)


def _modified(meta: ObjectMeta) -> float:
    return meta["last_modified"].timestamp() + _ROUNDED_SECONDS


@contextmanager
def _translated_errors(operation: str, name: str, *, absent: bool = False) -> Iterator[None]:
    """Turn errors into StoreFailure. With `absent` a 404 means the object, otherwise, and when S3 says so, the bucket."""
    try:
        yield
    except FileNotFoundError as error:
        if absent and "NoSuchBucket" not in str(error):
            raise Absent(name) from None
        raise StoreFailure(operation, name, "refused", "the bucket does not exist; create it") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StoreFailure(operation, name, "not permitted", _words(error)) from error
    except (BaseError, OSError) as error:
        status = _STATUS.search(str(error))
        if status is None:
            raise StoreFailure(operation, name, "unreachable", _words(error), passing=True) from error
        raise StoreFailure(
            operation, name, _REASONS.get(status[1], "refused"), _words(error), passing=status[1] in _PASSING_STATUS
        ) from error


def _words(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
