"""From what an operator writes into PHIMAGE_STORE to an open store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from phimage.chunks.decorators import limited, persistent, retrying
from phimage.chunks.errors import StoreFailure
from phimage.chunks.folder import FolderStore
from phimage.chunks.memory import MemoryStore
from phimage.chunks.object_store import REQUEST_SECONDS, Place, S3Store
from phimage.chunks.store import Store, check_prefix
from phimage.errors import SetupError
from phimage.waiting import Patience

MAX_REQUESTS = 16
"""How many requests one process has under way at one S3."""

LOCK_SECONDS = 1.0
"""How long one attempt of a command waits for the lock of a folder."""

_OPTIONS = frozenset({"endpoint", "region"})
_SECRETS = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(text: str, setting: str = "PHIMAGE_STORE", patience: Patience | None = None) -> Store:
    """`memory:`, `s3://bucket/prefix?endpoint=http://host:8333&region=us-east-1`, or the path of a folder.

    Keys for S3 come from the usual AWS_* variables and are refused in the address, which is shown and logged. An S3 store
    comes limited and with passing failures retried: a few times, or with `patience` until it ends.

    Raises SetupError, which names the `setting` that the address is from.
    """
    if text == "memory:":
        return MemoryStore()
    if text.startswith("s3://"):
        if patience is None:
            return retrying(limited(S3Store(s3_place(text, setting)), MAX_REQUESTS))
        seconds = min(patience.limit, REQUEST_SECONDS)
        return persistent(limited(S3Store(s3_place(text, setting), request_seconds=seconds), MAX_REQUESTS), patience)
    if not text or re.match(r"[a-z][a-z0-9+.-]*:", text, re.IGNORECASE):
        raise SetupError(f"{setting} is none of: the path of a folder, s3://bucket/prefix?endpoint=..., memory:")
    try:
        if patience is None:
            return FolderStore(Path(text))
        return persistent(FolderStore(Path(text), lock_seconds=LOCK_SECONDS), patience)
    except StoreFailure as error:
        raise SetupError(f"{setting}: {error}") from error


def s3_place(text: str, setting: str = "PHIMAGE_STORE") -> Place:
    """What an `s3://` address says. Raises SetupError."""
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "@" in parts.netloc or any(_SECRETS.search(option) for option in options):
        raise SetupError(f"{setting} has keys in it; give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if unknown := sorted(set(options) - _OPTIONS):
        raise SetupError(f"{setting} has the unknown option {unknown[0]!r}; known are endpoint and region")
    if parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise SetupError(f"{setting}: {parts.netloc!r} cannot be the name of a bucket")
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
    return Place(parts.netloc, prefix, endpoint, options.get("region", ""))
