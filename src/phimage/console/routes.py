"""The paths of the console and their pages. An id in a path is one segment, percent-decoded."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from msgspec import Struct

from phimage.console import change_kinds
from phimage.console.pages import (
    accounts,
    hosts,
    image,
    image_edit,
    images,
    jobs,
    log,
    matrix,
    overview,
    publish,
    quotas,
    store,
)
from phimage.console.visit import PageContent

Show = Callable[..., Awaitable[PageContent]]
"""Makes the content of a page from a visit. The named parts of its path are arguments."""


class Route(Struct, frozen=True):
    """A path below the root, as a regular expression, and its page.

    `area` is the entry of the navigation that it belongs to. `travels`: it shows the catalogue that the address names; other
    pages show the present. `act` answers its POST, which is a form, or with `max_bytes` so many bytes.
    """

    pattern: re.Pattern[str]
    show: Show
    area: str
    travels: bool = True
    act: Show | None = None
    max_bytes: int = 0


def _route(pattern: str, show: Show, area: str, *, travels: bool = True, act: Show | None = None, max_bytes: int = 0) -> Route:
    return Route(re.compile(pattern, re.ASCII), show, area, travels, act, max_bytes)


_ID = r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]{0,63})"
ROUTES = (
    _route("", overview.show_overview, "overview", travels=False),
    _route("images", images.show_images, "images"),
    _route(rf"images/{_ID}", image.show_image, "images"),
    _route(rf"images/{_ID}/why", image.show_why, "images"),
    _route(rf"images/{_ID}/download/(?P<form>{'|'.join(image.FORMS)})", image.download, "images"),
    _route("matrix", matrix.show_matrix, "matrix"),
    _route("hosts", hosts.show_hosts, "hosts", travels=False),
    _route(rf"hosts/{_ID}", hosts.show_host, "hosts", travels=False),
    _route("log", log.show_log, "log"),
    _route(r"log/(?P<number>[0-9]{1,18})", log.show_revision, "log", travels=False),
    _route("store", store.show_store, "store", travels=False),
    _route("quotas", quotas.show_quotas, "quotas", travels=False),
    _route("accounts", accounts.show_accounts, "accounts", travels=False),
    _route(rf"accounts/{_ID}", accounts.show_account, "accounts", travels=False),
    _route("projects", accounts.show_projects, "projects", travels=False),
    _route("keys", accounts.show_keys, "keys", travels=False),
    _route("publish", publish.show_publish, "publish", travels=False, act=publish.act),
    _route(
        "publish/head", publish.show_publish, "publish", travels=False, act=publish.look_at_head, max_bytes=publish.MAX_HEAD
    ),
    _route("jobs", jobs.show_jobs, "jobs", travels=False),
    _route(rf"jobs/{_ID}", jobs.show_job, "jobs", travels=False),
    _route(rf"jobs/{_ID}/upload", jobs.upload_address, "jobs", travels=False, act=jobs.complete),
    _route(rf"images/{_ID}/edit", image_edit.show_image_edit, "images", travels=False),
    _route(r"changes/(?P<name>[a-z-]{1,32})", change_kinds.show_nothing, "", travels=False, act=change_kinds.act),
)
"""All pages that need a session."""


def find_route(path: str) -> tuple[Route, dict[str, str]] | None:
    """The page of a path below the root with the parts of the path; None if there is none."""
    for route in ROUTES:
        match = route.pattern.fullmatch(path)
        if match is not None:
            return route, match.groupdict()
    return None
