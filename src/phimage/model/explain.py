"""Explains why an image is, or is not, in a list: the listing rules that fail, each with a remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from msgspec import Struct

from phimage.model.ids import ImageId
from phimage.model.image import RULES, Image, Query, State, meant_clusters, select
from phimage.model.topology import Topology


class Reason(Struct, frozen=True):
    """A listing rule that fails for an image."""

    rule: str
    why: str
    remedy: str


class Explanation(Struct, frozen=True):
    """The result for one image. `position` counts from 0, and is None for an image that is not listed."""

    listed: bool
    position: int | None
    total: int
    reasons: tuple[Reason, ...]
    notes: tuple[str, ...]


ReasonText = tuple[str, str]
"""Why a rule fails, and the remedy."""

UNSEEN: ReasonText = (
    "there is no such image, or this project cannot see it",
    "check the id, and name the project that owns the image with ProjectId",
)


def explain(id: ImageId, image: Image | None, scope: Iterable[Image], query: Query, topology: Topology) -> Explanation:
    """Explain an image for a query. `scope` are the images that it can list; `image` is None if the caller may not see it.

    Uses the same rules as the list, so the two cannot disagree.
    """
    listed = select(scope, query, topology)
    position = next((place for place, other in enumerate(listed) if other.id == id), None)
    if image is None:
        return Explanation(False, None, len(listed), (Reason("visible", *UNSEEN),), ())
    reasons = tuple(
        Reason(rule.name, *_TEXTS[rule.name](image, query, topology))
        for rule in RULES
        if not rule.holds(image, query, topology)
    )
    return Explanation(position is not None, position, len(listed), reasons, _notes(image, query))


def _notes(image: Image, query: Query) -> tuple[str, ...]:
    notes = []
    if image.id in query.awaited and query.operator:
        notes.append("it has no bytes yet: only an operator's list contains it")
    if image.state is State.MAKING:
        notes.append("it is Making: it cannot be deployed before it is Available")
    if image.state is State.UNAVAILABLE:
        notes.append("it is Unavailable: it cannot be deployed until the operator sets it to Available")
    if image.deprecated:
        notes.append(f"it is deprecated: {_instead(image)} should be used")
    elif image.deprecation_time:
        notes.append(f"it will be deprecated at {_date(image.deprecation_time)}: then {_instead(image)} should be used")
    return tuple(notes)


def _visible(image: Image, query: Query, topology: Topology) -> ReasonText:
    return (
        f"it is a custom image of project {image.project}, and the list is of project {query.project}",
        f"name the project with ProjectId={image.project}, with a key that may use it",
    )


def _asked(image: Image, query: Query, topology: Topology) -> ReasonText:
    return "the list asks for other ids", "add its id to ImageId, or ask for no ids"


def _type(image: Image, query: Query, topology: Topology) -> ReasonText:
    wanted = query.type.value if query.type else ""
    return f"it is a {image.type.value} image and the list asks for {wanted}", "ask for no ImageType"


def _current(image: Image, query: Query, topology: Topology) -> ReasonText:
    return (
        "it is deprecated, so lists leave it out",
        f"ask for it with ImageId.0={image.id}, or use {_instead(image)}",
    )


def _instead(image: Image) -> str:
    return image.successor or f"the newest version of {image.family or 'its family'}"


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _whole(image: Image, query: Query, topology: Topology) -> ReasonText:
    return (
        "it has no bytes yet: its publication is unfinished, or failed",
        f"wait until it is published, or ask for it with ImageId.0={image.id}",
    )


def _placed(image: Image, query: Query, topology: Topology) -> ReasonText:
    placed = ", ".join(image.zones) or "no zone"
    why = f"it is not placed in {', '.join(query.zones)}; it is placed in {placed}"
    return why, "ask in one of its zones, or place it there"


def _runs(image: Image, query: Query, topology: Topology) -> ReasonText:
    if query.machine_type is None:
        return (
            f"no machine type on cluster {query.cluster} in {', '.join(query.zones)} can run it",
            "ask for another Cluster, or let the image support a machine type that the zone offers there",
        )
    supported = image.support.get(query.machine_type, ())
    meant = sorted({c for zone in query.zones for c in meant_clusters(zone, query.machine_type, query.cluster, topology)})
    if not supported:
        return (
            f"it does not support machine type {query.machine_type}",
            f"ask for one of {', '.join(sorted(image.support)) or 'none: the image supports no machine type'}",
        )
    if not meant:
        return (
            f"no zone asked for offers {query.machine_type} on cluster {query.cluster}",
            "ask for a cluster on which the zone offers the machine type, see DescribePHostMachineType",
        )
    return (
        f"on {query.machine_type} it supports cluster {', '.join(supported)}, and the list is of {', '.join(meant)}",
        f"ask for Cluster={supported[0]}, or let the image support {query.machine_type} on {', '.join(meant)}",
    )


_TEXTS: dict[str, Callable[[Image, Query, Topology], ReasonText]] = {
    "visible": _visible,
    "asked": _asked,
    "type": _type,
    "current": _current,
    "whole": _whole,
    "placed": _placed,
    "runs": _runs,
}
