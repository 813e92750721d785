"""The navigation of the console: the areas that a session may look at."""

from __future__ import annotations

from msgspec import Struct

from phimage.console.address import Address
from phimage.console.session import ConsoleSession


class Area(Struct, frozen=True):
    """An entry of the navigation. Its text is `areas.NAME`."""

    name: str
    path: str
    is_for_operators: bool = False
    is_for_editors: bool = False


AREAS = (
    Area("overview", ""),
    Area("images", "images"),
    Area("matrix", "matrix"),
    Area("publish", "publish", is_for_editors=True),
    Area("jobs", "jobs"),
    Area("hosts", "hosts"),
    Area("log", "log", is_for_operators=True),
    Area("store", "store", is_for_operators=True),
    Area("quotas", "quotas", is_for_operators=True),
    Area("accounts", "accounts", is_for_operators=True),
    Area("projects", "projects"),
    Area("keys", "keys", is_for_operators=True),
)
"""All areas, in their order."""


class NavigationLink(Struct, frozen=True):
    """An area with its address for one page."""

    name: str
    href: str


def navigation(session: ConsoleSession, address: Address) -> tuple[NavigationLink, ...]:
    """The links to the areas of a session, which keep the catalogue and the place that are shown."""
    return tuple(NavigationLink(area.name, address.link(area.path)) for area in AREAS if _is_for(session, area))


def _is_for(session: ConsoleSession, area: Area) -> bool:
    return (session.is_operator or not area.is_for_operators) and (session.may_change or not area.is_for_editors)
