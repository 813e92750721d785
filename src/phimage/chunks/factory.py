"""Opens the store at an address, as an operator writes it into PHIMAGE_STORE."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from phimage.chunks.decorators import limited, persistent, retrying
from phimage.chunks.errors import StoreFailure
from phimage.chunks.folder import FolderStore
from phimage.chunks.memory import MemoryStore
from phimage.chunks.object_store import REQUEST_SECONDS, BucketAddress, S3Store
from phimage.chunks.store import Store, check_prefix
from phimage.errors import SetupError
from phimage.waiting import Patience

MAX_REQUESTS = 16
"""Max concurrent requests of one process to an S3 store."""

LOCK_SECONDS = 1.0
"""Seconds that one attempt of a command waits for the lock of a folder."""

_OPTIONS = frozenset({"endpoint", "region"})
_SECRETS = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(text: str, setting: str = "PHIMAGE_STORE", patience: Patience | None = None) -> Store:
    """Open `memory:`, `s3://bucket/prefix?endpoint=http://host:8333&region=us-east-1`, or a folder by its path.

    Keys for S3 come from the usual AWS_* variables and are refused in the address, which is shown and logged. Calls of an S3
    store are limited, and passing failures retried: a few times, or as long as `patience` allows.

    Raises SetupError, which names the `setting` of the address.
    """
    if text == "memory:":
        return MemoryStore()
    if text.startswith("s3://"):
        if patience is None:
            return retrying(limited(S3Store(bucket_address(text, setting)), MAX_REQUESTS))
        seconds = min(patience.limit, REQUEST_SECONDS)
        return persistent(limited(S3Store(bucket_address(text, setting), request_seconds=seconds), MAX_REQUESTS), patience)
    if not text or re.match(r"[a-z][a-z0-9+.-]*:", text, re.IGNORECASE):
        raise SetupError(f"{setting} must be the path of a folder, s3://bucket/prefix?endpoint=..., or memory:")
    try:
        if patience is None:
            return FolderStore(Path(text))
        return persistent(FolderStore(Path(text), lock_seconds=LOCK_SECONDS), patience)
    except StoreFailure as error:
        raise SetupError(f"{setting}: {error}") from error


def bucket_address(text: str, setting: str = "PHIMAGE_STORE") -> BucketAddress:
    """Parse an `s3://` address. Raises SetupError."""
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in parts.netloc or any(_SECRETS.search(option) for option in options):
        raise SetupError(f"{setting} contains keys; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if unknown := sorted(set(options) - _OPTIONS):
        raise SetupError(f"{setting} has the unknown option {unknown[0]!r}; known are endpoint and region")
    if parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise SetupError(f"{setting}: {parts.netloc!r} is not a valid name of a bucket")
    endpoint = options.get("endpoint", "")
    if endpoint and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", endpoint):
        raise SetupError(f"{setting}: endpoint must look like http://host:port or https://host")
    prefix = unquote(parts.path).strip("/")
    try:
        check_prefix(prefix)
    except ValueError as error:
        raise SetupError(
            f"{setting}: the prefix has only lower-case letters, digits, '.', '_', '-', '/': {prefix!r}"
        ) from error
    return BucketAddress(parts.netloc, prefix, endpoint, options.get("region", ""))
