"""Templates: the Jinja2 environment with the forms in which the pages write numbers, times and names."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from phimage.console.address import ROOT, Address
from phimage.console.sentences import translate
from phimage.console.static_files import static_address

_TEMPLATES = Path(__file__).parent / "templates"
_TIMES = frozenset(("created", "published", "expires", "deprecation_time"))
"""Fields of records that hold Unix seconds."""
# docs/decisions.md#the-console-stays-below-the-prefix-of-its-server
_root = ContextVar("root", default=ROOT)
"""The root of the console whose page is rendered: Jinja2 renders macros without the values of the page."""
_MAX_ICONS = 256
_UNITS = (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10))

SLICE_SECONDS = 0.001
"""The event loop renders a page for this long, then answers others."""
_PIECES = 50
"""Pieces of a page, such as a cell of a table, between two looks at the clock: about 0.1 ms."""


# docs/decisions.md#pages-are-rendered-on-the-event-loop
async def render(template: str, values: Mapping[str, Any], clock: Callable[[], float] = time.perf_counter) -> bytes:
    """A page as UTF-8, with its `address` among the values. Every value is escaped."""
    address: Address = values["address"]
    token = _root.set(address.root)
    try:
        pieces: list[str] = []
        stream = _environment().get_template(template).generate(values)
        ends = clock() + SLICE_SECONDS
        while some := list(islice(stream, _PIECES)):
            pieces += some
            if clock() >= ends:
                await asyncio.sleep(0)
                ends = clock() + SLICE_SECONDS
        return "".join(pieces).encode("utf-8")
    finally:
        _root.reset(token)


# docs/decisions.md#pages-come-from-templates
@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "bytes": bytes_text,
        "number": number_text,
        "time": time_element,
        "percent": percent,
        "field": field_text,
    }
    environment.globals |= {"icon": icon, "static": static, "translate": translate}
    return environment


def bytes_text(count: int) -> str:
    """A number of bytes, such as 1.5 GiB."""
    for unit, shift in _UNITS:
        if count >= 1 << shift:
            scaled = count / (1 << shift)
            return f"{scaled:.0f} {unit}" if scaled >= 100 else f"{scaled:.3g} {unit}"
    return f"{count} B"


def number_text(number: int) -> str:
    """A whole number, with a comma between thousands."""
    return f"{number:,}"


def percent(done: float, total: float) -> int:
    """The part of a whole in percent, from 0 to 100."""
    return max(0, min(100, round(100 * done / total))) if total else 0


def field_text(value: str, field: str) -> str | Markup:
    """The value of a changed field; Unix seconds as a time."""
    return time_element(value) if field in _TIMES and value.isdigit() and value != "0" else value


def time_element(time: int | str, form: str = "minute") -> Markup:
    """A time for people: Unix seconds, or a text of RFC 3339. In UTC; the script of the page shows it in the viewer's zone.

    The form is `minute` or `day`.
    """
    if not time:
        return Markup("–")
    text = str(time)
    moment = datetime.fromtimestamp(int(text), UTC) if text.isdigit() else datetime.fromisoformat(text).astimezone(UTC)
    stamp = moment.isoformat(sep=" ", timespec="seconds")[:19]
    shown = stamp[:10] if form == "day" else stamp[:16]
    # Digits alone, so nothing needs escaping, which would take most of the time.
    return Markup(  # noqa: S704
        f'<time datetime="{stamp[:10]}T{stamp[11:]}Z" title="{stamp} UTC" data-form="{form}">{shown}</time>'
    )


def static(name: str) -> str:
    """The address of a static file for the page that is rendered."""
    return static_address(name, _root.get())


def icon(name: str) -> Markup:
    """An icon of the sprite, for the eye alone: a word beside it says the same."""
    return _icon(name, _root.get())


@lru_cache(maxsize=_MAX_ICONS)
def _icon(name: str, root: str) -> Markup:
    return Markup('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>').format(
        static_address("icons.svg", root), name
    )
