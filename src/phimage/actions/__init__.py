"""Every Action of phimage: one file per noun, with the request and answer types and the functions that answer them."""

from __future__ import annotations

from typing import cast

from phimage.actions import (
    accounts,
    caller,
    catalog,
    details,
    downloads,
    explain,
    feed,
    images,
    keys,
    machines,
    places,
    projects,
    publish,
    quotas,
    restore,
    revisions,
    uploading,
    users,
    withdraw,
)
from phimage.actions.service import Service
from phimage.catalog.views import Catalog, View
from phimage.chunks.memory import MemoryStore
from phimage.gateway.registry import Registry


def registry(service: Service) -> Registry[View]:
    """All Actions, answering from a service's catalogue."""
    nouns = (
        *(images, details, explain, feed, downloads, withdraw, restore, machines, places, caller),
        *(catalog, publish, uploading, quotas, revisions, accounts, users, projects, keys),
    )
    return Registry(action for noun in nouns for action in noun.actions(service))


def described() -> Registry[View]:
    """All Actions with the settings of a new installation, to be described. There is no catalogue: they cannot be called."""
    return registry(Service(catalog=cast("Catalog", None), store=MemoryStore()))
