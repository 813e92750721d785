"""Pages of a list, and the sorting of its columns: all of it in the address."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from phimage.console.address import Address

ROWS = 50
"""Rows of a page."""
MAX_PAGE = 40_000_000


class Pages(Struct, frozen=True):
    """Where a page is in its list. Rows count from 1; `first` is 0 in an empty list."""

    number: int
    count: int
    first: int
    last: int
    total: int
    previous: str
    next: str


class ColumnHead(Struct, frozen=True):
    """A column of a table. `href` sorts by it. `order` is ascending, descending, or empty if the list is not sorted by it."""

    name: str
    href: str = ""
    order: str = ""
    is_number: bool = False


def page_number(address: Address) -> int:
    """The page that an address names, from 1."""
    return min(address.number("page", 1), MAX_PAGE)


def pages_of(address: Address, total: int, shown: int, rows: int = ROWS) -> Pages:
    """The place of a page with so many rows `shown` in a list of so many in `total`."""
    number = page_number(address)
    first = (number - 1) * rows
    return Pages(
        number=number,
        count=max(1, -(-total // rows)),
        first=first + 1 if shown else 0,
        last=first + shown if shown else 0,
        total=total,
        previous=address.href(page=number - 1 if number > 2 else None) if number > 1 else "",
        next=address.href(page=number + 1) if first + shown < total else "",
    )


def columns(
    address: Address, names: Iterable[str], sortable: Iterable[str], descending: Iterable[str] = (), numbers: Iterable[str] = ()
) -> list[ColumnHead]:
    """The columns of a table. A first click sorts ascending, but for `descending` ones; a second turns the order round."""
    sort, sorts, first_descending, aligned = address.get("sort"), set(sortable), set(descending), set(numbers)
    found = []
    for name in names:
        current = {name: "ascending", f"-{name}": "descending"}.get(sort, "")
        if name not in sorts:
            found.append(ColumnHead(name, is_number=name in aligned))
            continue
        turn = name if current == "descending" or (not current and name not in first_descending) else f"-{name}"
        found.append(ColumnHead(name, address.href(sort=turn, page=None), current, name in aligned))
    return found
