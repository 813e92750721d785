"""What a process handed out, for its metrics."""

from __future__ import annotations

from msgspec import Struct, field


class Counters(Struct):
    """Only ever grow. Written on the event loop; read them at any time."""

    downloads: dict[str, int] = field(default_factory=dict)
    """Answers with bytes (200 and 206), by form."""
    bytes_sent: int = 0
    """Of bodies, as they were handed to the server."""
    packs_sent: int = 0
    packs_built: int = 0
    bad_chunks: int = 0
    """Times that a download or the making of a pack met a bad chunk."""
    refused: int = 0
    """Downloads that found no place."""
    stalled: int = 0
    """Downloads that were given up because their client did not read."""
    left: int = 0
    """Downloads whose client went away before the end."""
