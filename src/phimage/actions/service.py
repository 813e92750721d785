"""What handlers of Actions work with: the open catalogue, the store and the settings that responses depend on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct, field

from phimage.actions.changed_fields import dry_run_response
from phimage.actions.heartbeats import Heartbeats
from phimage.catalog.accounts import use_nonce
from phimage.catalog.engine import Connection
from phimage.catalog.jobs import LEASE_SECONDS
from phimage.catalog.revisions import Author, Change
from phimage.catalog.views import Catalog, View
from phimage.chunks.store import Store
from phimage.delivery.ticket import make_ticket
from phimage.errors import UnavailableParam
from phimage.gateway import registry
from phimage.http.freshness import STALE_SECONDS
from phimage.model.ids import ImageId, JobId, OrderId, ProjectId, RandomBytes, Revision
from phimage.model.order import Order


class ListSettings(Struct, frozen=True):
    """The settings that fields of requests refer to: `Annotated[..., Meta(extra=by_setting(max="max_limit"))]`.

    `require_zone`: a list must name its zone. `default_limit` and `max_limit` hold for Limit of DescribePHostImage.
    """

    require_zone: bool = True
    default_limit: int = 20
    max_limit: int = 1000


TICKETS = "tickets"
"""The name of the key that the tickets of an installation are made with."""
DEFAULTS = ListSettings()
"""The settings of a new installation."""


class Service(Struct, frozen=True):
    """One installation.

    `max_original` is the max size of an original file and `min_free` what stays free in the store, both in bytes. `public_url`
    is the base of download and upload URLs; empty means the address that the caller used. `propagation_seconds` after one
    process reads a revision, every process answers with it. `lease_seconds` is the length of a publisher's lease. `now` dates
    what is stored and shown, `signed_now` the nonces of signatures. `tickets` names the key that tickets are made with.
    `heartbeats` are those that this process received and has not written yet.
    """

    catalog: Catalog
    store: Store
    max_original: int = 256 << 30
    min_free: int = 0
    public_url: str = ""
    lists: ListSettings = DEFAULTS
    random: RandomBytes = secrets.token_bytes
    propagation_seconds: float = STALE_SECONDS
    lease_seconds: float = LEASE_SECONDS
    now: Callable[[], float] = time.time
    signed_now: Callable[[], float] = time.time
    tickets: str = TICKETS
    heartbeats: Heartbeats = field(default_factory=Heartbeats)

    @contextmanager
    def change(self, call: Call) -> Iterator[Change]:
        """Write one revision with the caller as its author, and use up the nonce of its signature.

        Raises WrongSignature for a nonce that was used before. A dry run raises DryRun at the end, and writes nothing.
        """
        with self.catalog.change(author(call)) as change:
            use_nonce(change.connection, call.caller.key, call.caller.nonce, self.signed_now())
            yield change
            if call.dry_run:
                raise registry.DryRun(dry_run_response(change))

    @contextmanager
    def write(self, call: Call) -> Iterator[Connection]:
        """Write rows outside the revisions, such as jobs, and use up the nonce. Raises WrongSignature like `change`.

        Such rows show nobody what they would change, so a dry run is refused.
        """
        if call.dry_run:
            raise UnavailableParam("Action", detail=f"{call.action} has no dry run: it changes no revision")
        with self.catalog.database.write() as connection:
            use_nonce(connection, call.caller.key, call.caller.nonce, self.signed_now())
            yield connection

    def is_everywhere(self, revision: Revision) -> bool:
        """Whether the next response of any process of the installation reflects a revision.

        A process that has not read the newest revision for STALE_SECONDS reads it before it answers. So every process knows
        what this one has known for that long.
        """
        if self.catalog.known_for(revision) < 0:
            self.catalog.refresh()
        return self.catalog.known_for(revision) >= self.propagation_seconds

    def download_url(self, image: ImageId, form: str, call: Call, expires: int) -> str:
        """The URL of one form of an image's bytes. It needs no signature until `expires`, in Unix seconds."""
        query = make_ticket(self.ticket_secret(), "download", image, call.caller.key, call.project, expires)
        return f"{self.public_url or call.base_url()}/images/{image}{form}?{query}"

    def upload_url(self, job: JobId, call: Call, expires: int) -> str:
        """The URL that takes the parts of a job's original until `expires`, in Unix seconds."""
        query = make_ticket(self.ticket_secret(), "upload", job, call.caller.key, call.project, expires)
        return f"{self.public_url or call.base_url()}/uploads/{job}?{query}"

    def order_download_url(self, order: Order, form: str, call: Call, expires: int) -> str:
        """The URL of one form of the image that an order deploys, for the agent that has the order with this fence."""
        holder = ticket_holder(order.id, order.fence)
        query = make_ticket(self.ticket_secret(), "download", order.image, call.caller.key, holder, expires)
        return f"{self.public_url or call.base_url()}/images/{order.image}{form}?{query}"

    def order_upload_url(self, order: Order, call: Call, expires: int) -> str:
        """The URL that takes the chunks of the disk that an order captures, from the agent that has it with this fence."""
        holder = ticket_holder(order.id, order.fence)
        query = make_ticket(self.ticket_secret(), "upload", order.job, call.caller.key, holder, expires)
        return f"{self.public_url or call.base_url()}/uploads/{order.job}?{query}"

    def ticket_secret(self) -> bytes:
        """The key that tickets are made and checked with, the same in every process of the installation."""
        return self.catalog.key_encryption.derive(self.tickets)


def ticket_holder(order: OrderId, fence: int) -> ProjectId:
    """What the ticket of an order has in place of a project, so that it is valid with this fence alone."""
    return ProjectId(f"{order}/{fence}")


Call = registry.Call[View, Service]
"""A call of an Action of this installation."""


def author(call: Call) -> Author:
    """The author of the revision that a call writes."""
    return Author(actor=call.caller.actor, address=call.address, request_id=call.request_id, action=call.action, time=call.time)
