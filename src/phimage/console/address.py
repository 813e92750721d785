"""The address of a page: its path, and its parameters with the names that the API gives them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlencode

from msgspec import Struct

ROOT = "/console/"
"""The path of the console below the address of its server, which may have a prefix: see `Address.root`."""
STICKY = ("at", "rev", "ProjectId", "Zone")
"""Parameters that links to other pages keep: the catalogue that is shown, and the place of the person in it."""
MAX_PARAMS = 64
MAX_QUERY = 16 << 10
"""Hundreds of links of a page repeat its parameters."""
_SAFE = "/._-:=@,"
"""Characters of paths that stay as they are: those of the prefix too, because the path of a cookie is compared as text."""


class Address(Struct, frozen=True):
    """A path of the console with its parameters. All state of a page is in it.

    `path` is whole, as a browser has it. `root` is its beginning: the path of the console, below the prefix of its server.
    """

    path: str
    params: Mapping[str, str]
    root: str = ROOT

    @property
    def page(self) -> str:
        """The path below the root."""
        return self.path.removeprefix(self.root)

    def get(self, name: str) -> str:
        """The value of a parameter; empty if it is absent."""
        return self.params.get(name, "")

    def number(self, name: str, default: int) -> int:
        """The value of a parameter that is a whole number from 1 on; the default for anything else."""
        text = self.get(name)
        return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 10 and int(text) > 0 else default

    @property
    def is_pinned(self) -> bool:
        """Whether a past catalogue is shown."""
        return bool(self.get("rev") or self.get("at"))

    @property
    def pin(self) -> str:
        """The path of requests to the catalogue that is shown."""
        if self.get("rev"):
            return f"/rev/{self.get('rev')}/"
        if self.get("at"):
            return f"/at/{_with_zone(self.get('at'))}/"
        return "/"

    @property
    def moment(self) -> datetime | None:
        """The time of the catalogue that is shown, in UTC; None if the address names none, or one that cannot be read."""
        try:
            return datetime.fromisoformat(_with_zone(self.get("at"))).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    def href(self, **changes: object) -> str:
        """This page with changed parameters; one that becomes None or empty is left out."""
        return href(self.path, {**self.params, **changes})

    def link(self, path: str = "", **params: object) -> str:
        """Another page, by its path below the root, that keeps the sticky parameters."""
        kept = {name: self.get(name) for name in STICKY}
        return href(self.root + path, {**kept, **params})

    @property
    def kept(self) -> str:
        """What `link` appends to a path: for tables, whose rows have many links."""
        return self.link().removeprefix(self.root)

    def plain_link(self, path: str, **params: object) -> str:
        """Another page, by its path below the root, with these parameters alone."""
        return href(self.root + path, params)

    def rest(self, *names: str) -> list[tuple[str, str]]:
        """All parameters but these, for the hidden fields of a form."""
        return [(name, value) for name, value in self.params.items() if name not in names and value]


def read_address(path: str, query: str, prefix: str = "") -> Address:
    """The address of a request for a path below the prefix of its server.

    Of a repeated parameter the last one counts. With more than MAX_PARAMS, or a query above MAX_QUERY, it has none.
    """
    if len(query) > MAX_QUERY:
        query = ""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, encoding="utf-8", errors="replace", max_num_fields=MAX_PARAMS)
    except ValueError:
        pairs = []
    return Address(prefix + path, dict(pairs), prefix + ROOT)


def href(path: str, params: Mapping[str, object]) -> str:
    """A path with those parameters that have a value."""
    given = {name: str(value) for name, value in params.items() if value not in (None, "")}
    return quote(path, safe=_SAFE) + (f"?{urlencode(given)}" if given else "")


def _with_zone(time: str) -> str:
    """A time in UTC unless it names another zone: browsers' fields for times name none."""
    return time if time.endswith("Z") or "+" in time or time.count("-") > 2 else f"{time}Z"
