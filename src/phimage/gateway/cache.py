"""What the gateway caches: admitted requests, and responses with the parts that they share.

Of the catalogue it uses revisions and scope versions alone; facts are cached by the catalogue itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar

from phimage.errors import NotCached
from phimage.model.ids import Revision
from phimage.revision_cache import RevisionCache, ScopeVersions

MAX_RESPONSE_BYTES = 32_000_000
"""The maximum size of all cached responses and their parts, in bytes; a page of 20 images is about 7 kB."""
# docs/decisions.md#caches-are-bounded-by-weight
MAX_REQUEST_BYTES = 8_000_000
"""The maximum size of all cached requests, in bytes."""
_ENTRY_BYTES = 1_000
"""About the size of an entry without its value."""

Value = TypeVar("Value")


def known_key(method: str, path: str, content_type: str, query: str, body: bytes) -> Hashable:
    """What two requests have in common that get the same response."""
    return "known", method, path, content_type, query, body


class AtRevision(Protocol):
    """A view of the catalogue, as far as the cache needs it."""

    @property
    def revision(self) -> Revision:
        """The revision of the view."""
        ...

    @property
    def pinned(self) -> bool:
        """Whether the view stays at its revision."""
        ...


# docs/decisions.md#the-gateway-caches-responses-and-the-catalogue-caches-facts
class GatewayCache:
    """The cache of one process. Thread-safe."""

    def __init__(self, scope_versions: ScopeVersions) -> None:
        self.requests = RevisionCache(MAX_REQUEST_BYTES, scope_versions)
        self.responses = RevisionCache(MAX_RESPONSE_BYTES, scope_versions)

    def get_request(self, key: Hashable, revision: Revision) -> Any:
        """The admitted request of a key; None unless its caller's account is unchanged at a revision."""
        try:
            return self.requests.get(key, revision)
        except NotCached:
            return None

    def put_request(self, key: Hashable, admitted: Any, revision: Revision, scope: str, size: int) -> None:
        """Cache a request of `size` bytes, admitted at a revision, until one touches the scope of its caller's account."""
        self.requests.put(key, admitted, revision, (scope,), _ENTRY_BYTES + size)

    def get_known(self, key: Hashable, revision: Revision) -> Any:
        """What was kept of a request and its response; None unless the response is still right at a revision."""
        try:
            return self.responses.get(key, revision)
        except NotCached:
            return None

    def put_known(self, key: Hashable, known: Any, revision: Revision, scopes: tuple[str, ...], size: int) -> None:
        """Keep a request with its response of `size` bytes until a revision touches the scopes of the response."""
        self.responses.put(key, known, revision, scopes, _ENTRY_BYTES + size)

    def get_or_make(
        self,
        key: Hashable,
        view: AtRevision,
        scopes: tuple[str, ...],
        make: Callable[[], Value],
        size: Callable[[Value], int],
    ) -> Value:
        """The value of a key, made by `make` unless it is cached and no revision touched its scopes since.

        `size` estimates the bytes that the value takes or will take.
        """
        key = (key, view.revision) if view.pinned else key
        scopes = () if view.pinned else scopes
        try:
            value: Value = self.responses.get(key, view.revision)
        except NotCached:
            value = make()
            self.responses.put(key, value, view.revision, scopes, _ENTRY_BYTES + size(value))
        return value
