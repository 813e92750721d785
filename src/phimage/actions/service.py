"""What the Actions work with: the open catalogue and the settings that decide about answers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from msgspec import Struct

from phimage.catalog.revisions import Author, Change
from phimage.catalog.views import Catalog, View
from phimage.chunks.store import Store
from phimage.delivery.ticket import make_ticket
from phimage.gateway.registry import Call
from phimage.http.freshness import STALE_SECONDS
from phimage.model.ids import ImageId, JobId, RandomBytes, Revision


class Service(Struct, frozen=True):
    """One installation. `max_limit` bounds Limit, `require_zone` says whether a list must name its zone.

    `max_original` is the most bytes of a file that is published, `reserve` how many stay free in the store, `public_url` the
    address in URLs that are handed out; empty means the one that the caller used. `propagation_seconds` after one process
    learned of a revision, every process answers with it.
    """

    catalog: Catalog
    store: Store
    max_original: int = 256 << 30
    reserve: int = 0
    public_url: str = ""
    require_zone: bool = True
    default_limit: int = 20
    max_limit: int = 1000
    random: RandomBytes = secrets.token_bytes
    propagation_seconds: float = STALE_SECONDS
    now: Callable[[], float] = time.time

    def change(self, call: Call[View]) -> AbstractContextManager[Change]:
        """Write one revision in the name of a caller."""
        return self.catalog.change(author(call))

    def is_everywhere(self, revision: Revision) -> bool:
        """Whether the next answer of any process of the installation has a revision in it.

        A process that has not read the newest revision for STALE_SECONDS does so before it answers. So everybody knows what
        this one has known for that long.
        """
        if self.catalog.known_for(revision) < 0:
            self.catalog.refresh()
        return self.catalog.known_for(revision) >= self.propagation_seconds

    def download_url(self, image: ImageId, form: str, call: Call[View], expires: int) -> str:
        """Where one form of an image's bytes can be had until `expires`, in Unix seconds, without signing."""
        query = make_ticket(self.ticket_secret(), "download", image, call.key, call.project, expires)
        return f"{self.public_url or call.base_url()}/images/{image}{form}?{query}"

    def upload_url(self, job: JobId, call: Call[View], expires: int) -> str:
        """Where parts of a job's original can be put until `expires`."""
        query = make_ticket(self.ticket_secret(), "upload", job, call.key, call.project, expires)
        return f"{self.public_url or call.base_url()}/uploads/{job}?{query}"

    def ticket_secret(self) -> bytes:
        """What tickets are made and checked with; the same in every process of the installation."""
        return self.catalog.key_encryption.derive("tickets")


def author(call: Call[View]) -> Author:
    """The author of what a call changes."""
    return Author(actor=call.actor, address=call.address, request_id=call.request_id, action=call.action, time=call.time)
