"""Changes that people make with a form: each is one Action, shown first as a dry run and then carried out once.

A form posts the parameters of the Action to `/console/changes/NAME`. Fields that begin with an underscore are the console's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from phimage.actions.changed_fields import DryRunResponse
from phimage.actions.image_hosts import ImageHost
from phimage.actions.withdraw import WithdrawnResponse
from phimage.console.browser_origin import inner_path
from phimage.console.form import Form, PageError
from phimage.console.visit import ActionRefused, PageContent, Visit
from phimage.fields import fields_of

BACK, STEP, NONCE, SHOWN, TYPED = "_back", "_step", "_nonce", "_shown", "_typed"
"""Fields of the console: the page to return to, the step, nonce and digest of what was shown, and the id that was typed."""
GO = "go"

Parameters = dict[str, Any]
Read = Callable[[Visit, "ChangeKind"], Awaitable[Parameters]]


class ChangeKind(Struct, frozen=True):
    """A change that the console offers. Its texts are `changes.NAME.title`, `.effect`, `.go` and `.done`.

    `area` is its entry of the navigation. `typed` is the parameter whose value a person types before something is lost.
    `result` is the template that shows the response; without one the browser returns to the page of the form. `names_hosts`:
    the Action has a dry run of its own, whose response names the hosts that run the image.
    """

    name: str
    action: type[Struct]
    answer: type[Struct]
    area: str
    read: Read
    typed: str = ""
    result: str = ""
    names_hosts: bool = False


async def show_change(visit: Visit, kind: ChangeKind) -> PageContent:
    """Show what a form would change, or carry it out if it was confirmed. Raises ActionRefused."""
    form = visit.form
    parameters = await kind.read(visit, kind)
    if form.get(STEP) != GO:
        return await _dry_run(visit, kind, parameters, "")
    if kind.typed and form.get(TYPED).strip() != parameters.get(kind.typed):
        return await _dry_run(visit, kind, parameters, "changes.typed_wrong")
    visit.check_nonce(form.get(NONCE), kind.action)
    if form.get(SHOWN) != _digest_of(await visit.try_out(kind.action, **parameters)):
        return await _dry_run(visit, kind, parameters, "changes.meanwhile")
    made = await visit.change_once(form.get(NONCE), kind.action, kind.answer, **parameters)
    back = inner_path(form.get(BACK), visit.address.root)
    if kind.result:
        return PageContent(kind.result, {"made": made, "kind": kind, "back": back, "area": kind.area})
    return PageContent(location=_with_done(back, kind.name))


async def _dry_run(visit: Visit, kind: ChangeKind, parameters: Parameters, problem: str) -> PageContent:
    hosts: tuple[ImageHost, ...] = ()
    try:
        tried, refused = await visit.try_out(kind.action, **parameters), None
        if kind.names_hosts:
            hosts = (await visit.change(kind.action, WithdrawnResponse, **parameters, DryRun=True)).host_set
    except ActionRefused as error:
        tried, refused = None, error
    values: Mapping[str, Any] = {
        "kind": kind,
        "tried": tried,
        "refused": refused,
        "problem": problem,
        "hosts": hosts,
        "typed": str(parameters.get(kind.typed, "")),
        "hidden": visit.form.rest(STEP, NONCE, SHOWN, TYPED),
        "nonce": visit.nonces.make(),
        "shown": _digest_of(tried) if tried else "",
        "back": inner_path(visit.form.get(BACK), visit.address.root),
        "area": kind.area,
    }
    return PageContent("change.html", values, status=200 if refused is None else 400)


# docs/decisions.md#a-confirmation-is-for-what-was-shown
def _digest_of(tried: DryRunResponse) -> str:
    """A digest of the records that a change touches and of what it takes from them. What it puts there may be drawn anew."""
    touched = [
        (
            change.noun,
            change.verb,
            "" if change.verb == "added" else change.id,
            [] if change.verb == "added" else [(each.field, each.old, sorted(each.removed)) for each in change.fields],
        )
        for change in tried.changes
    ]
    return digest((tried.total_count, touched))


def digest(value: object) -> str:
    """A digest of a value, for a hidden field: the next request compares it with what it finds."""
    return sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def parameters_of(form: Form, action: type[Struct]) -> Parameters:
    """The parameters of an Action in a form. Blank ones are left out; a list has a value for each field and each line."""
    found: Parameters = {"ProjectId": form.get("ProjectId") or None}
    for field in fields_of(action):
        values = [line.strip() for value in form.all(field.name) for line in value.splitlines() if line.strip()]
        if field.type.shape == "list":
            if values:
                found[field.name] = values
        elif form.get(field.name).strip():
            found[field.name] = form.get(field.name).strip()
    return found


async def as_given(visit: Visit, kind: ChangeKind) -> Parameters:
    """The parameters as the form has them."""
    return parameters_of(visit.form, kind.action)


def words(texts: tuple[str, ...]) -> list[str]:
    """The words of a field for several names, between spaces or commas."""
    return [word for text in texts for word in text.replace(",", " ").split()]


def number(form: Form, name: str, max_value: int) -> int:
    """A whole number of a form, from 0 on. Raises PageError for anything else."""
    text = form.get(name).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(max_value)) and int(text) <= max_value):
        raise PageError(400, "number")
    return int(text)


def _with_done(back: str, name: str) -> str:
    """The address to return to, which says what was done."""
    return f"{back}{'&' if '?' in back else '?'}done={name}"
