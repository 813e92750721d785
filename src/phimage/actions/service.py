"""What the Actions work with: the open catalogue and the settings that decide about answers."""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager

from msgspec import Struct

from phimage.catalog.revisions import Author, Change
from phimage.catalog.store import Catalog, View
from phimage.gateway.registry import Call
from phimage.model.ids import RandomBytes


class Service(Struct, frozen=True):
    """One installation. `most_limit` bounds Limit, `require_zone` says whether a list must name its zone."""

    catalog: Catalog
    require_zone: bool = True
    default_limit: int = 20
    most_limit: int = 1000
    random: RandomBytes = secrets.token_bytes

    def change(self, call: Call[View]) -> AbstractContextManager[Change]:
        """Write one revision in the name of a caller."""
        return self.catalog.change(author(call))


def author(call: Call[View]) -> Author:
    """The author of what a call changes."""
    return Author(actor=call.actor, address=call.address, request_id=call.request_id, action=call.action, time=call.time)
