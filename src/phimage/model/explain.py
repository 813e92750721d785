"""Explains why an image is, or is not, in a list: the listing rules that fail, each with a remedy.

All of it evaluates `RULES`, as the list does, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ZoneId
from phimage.model.image import RULES, Image, ImageType, Query, State, meant_clusters, select, supported_types
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


class MatrixCell(Struct, frozen=True):
    """A machine type on a cluster, for one image. `failing` is the first listing rule that fails; empty if it is listed."""

    machine_type: MachineTypeId
    cluster: ClusterId
    offered: bool
    supported: bool
    failing: str

    @property
    def listed(self) -> bool:
        """Whether a list of this machine type on this cluster has the image."""
        return not self.failing


ReasonText = tuple[str, str]
"""Why a rule fails, and the remedy."""

MAX_NAMES = 8
"""Max names of a kind in a text that may have many."""

UNSEEN: ReasonText = (
    "there is no such image, or this project cannot see it",
    "check the id, and name the project that owns the image with ProjectId",
)


def explain(
    id: ImageId, image: Image | None, scope: Iterable[Image], query: Query, topology: Topology, *, stored: bool = True
) -> Explanation:
    """Explain an image for a query. `scope` are the images that it can list; `image` is None if the caller may not see it.

    `stored`: its bytes are in the store.
    """
    listed = select(scope, query, topology)
    position = next((place for place, other in enumerate(listed) if other.id == id), None)
    if image is None:
        return Explanation(False, None, len(listed), (Reason("visible", *UNSEEN),), ())
    notes = _notes(image, query, stored=stored)
    return Explanation(position is not None, position, len(listed), reasons(image, query, topology), notes)


def reasons(image: Image, query: Query, topology: Topology) -> tuple[Reason, ...]:
    """Every listing rule that fails, in their order."""
    return tuple(
        Reason(rule.name, *_TEXTS[rule.name](image, query, topology))
        for rule in RULES
        if not rule.holds(image, query, topology)
    )


def matrix(image: Image, query: Query, topology: Topology) -> tuple[MatrixCell, ...]:
    """Whether a list has the image, for each machine type on each cluster; the query's own are ignored.

    The machine types are those that the zones offer or the image supports, by id; the clusters are all.
    """
    offered = {kind for zone in query.zones for kind in topology.offered.get(zone, {})}
    return tuple(
        MatrixCell(
            machine_type=kind,
            cluster=cluster,
            offered=cluster in topology.clusters_of(kind, query.zones),
            supported=cluster in image.support.get(kind, ()),
            failing=_first_failing(image, replace(query, machine_type=kind, cluster=cluster), topology),
        )
        for kind in sorted(offered | image.support.keys())
        for cluster in topology.clusters
    )


def _first_failing(image: Image, query: Query, topology: Topology) -> str:
    return next((rule.name for rule in RULES if not rule.holds(image, query, topology)), "")


def no_bytes(type: ImageType, state: State) -> str:
    """The sentence about an image whose bytes are not in the store."""
    if state is State.MAKING:
        return "phimage has no bytes of this image yet: they come with its publication"
    remedy = "an operator can name their `source:` in the catalogue file" if type is ImageType.BASE else "publish it again"
    return f"phimage has no bytes of this image, so it cannot be downloaded from here: {remedy}"


def _notes(image: Image, query: Query, *, stored: bool) -> tuple[str, ...]:
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
    if not stored:
        notes.append(no_bytes(image.type, image.state))
    return tuple(notes)


def unknown_machine_type(kind: MachineTypeId, zones: tuple[ZoneId, ...], topology: Topology, image: Image | None) -> str:
    """The detail of the error about a machine type that the zones do not offer, and what `image` supports."""
    offered = sorted({name for zone in zones for name in topology.offered.get(zone, {})})
    parts = [f"offered here: {', '.join(offered) or 'none'}"]
    elsewhere = [zone for zone, kinds in topology.offered.items() if kind in kinds]
    if elsewhere:
        parts.append(f"{kind} is offered in {_few(elsewhere)}")
    if image is not None:
        here = [name for name in offered if name in image.support]
        parts.append(f"{image.id} supports {', '.join(here) or 'none'} of those offered here")
    return "; ".join(parts)


def unknown_cluster(kind: MachineTypeId | None, zones: tuple[ZoneId, ...], topology: Topology, image: Image | None) -> str:
    """The detail of the error about an unknown cluster, and what `image` supports."""
    parts = [f"expected one of {', '.join(topology.clusters)}"]
    if kind is not None and (offered := topology.clusters_of(kind, zones)):
        parts.append(f"{kind} is offered here on {', '.join(offered)}")
    if kind is not None and image is not None:
        parts.append(f"{image.id} supports {kind} on {_clusters(image.support.get(kind, ()))}")
    return "; ".join(parts)


def _clusters(clusters: Iterable[ClusterId]) -> str:
    return ", ".join(clusters) or "no cluster"


def _few(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


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
        return _runs_on_cluster(image, query, topology)
    kind, supported = query.machine_type, image.support.get(query.machine_type, ())
    offered = topology.clusters_of(kind, query.zones)
    if not supported:
        able = supported_types(image, query.zones, topology) or sorted(image.support)
        return (
            f"it does not support machine type {kind}, which is offered here on {_clusters(offered)}",
            f"ask for one of {_few(able) or 'none: the image supports no machine type'}",
        )
    here = tuple(zone for zone in query.zones if zone in image.zones)
    if not topology.clusters_of(kind, here):
        why = f"it is not placed where {kind} is offered; it supports {kind} on {_clusters(supported)}"
        return why, "ask in one of its zones, or place it there"
    usable = [cluster for cluster in supported if cluster in topology.clusters_of(kind, here)]
    meant = sorted({c for zone in here for c in meant_clusters(zone, kind, query.cluster, topology)})
    if meant:
        why = f"on {kind} it supports cluster {', '.join(supported)}, and the list is of {', '.join(meant)}"
    else:
        why = f"no zone asked for offers {kind} on cluster {query.cluster}; on {kind} it supports {', '.join(supported)}"
    let = f"let the image support {kind} on {', '.join(meant or offered)}"
    return f"{why}; {kind} is offered here on {_clusters(offered)}", f"ask for Cluster={usable[0]}, or {let}" if usable else let


def _runs_on_cluster(image: Image, query: Query, topology: Topology) -> ReasonText:
    why = f"no machine type on cluster {query.cluster} in {', '.join(query.zones)} can run it"
    here = tuple(zone for zone in query.zones if zone in image.zones)
    runs = {
        kind: [cluster for cluster in image.support[kind] if cluster in topology.clusters_of(kind, here)]
        for kind in supported_types(image, here, topology)
    }
    if not runs:
        return f"{why}, nor on any other", "let the image support a machine type that the zone offers there"
    able = _few([f"{kind} ({', '.join(clusters)})" for kind, clusters in runs.items()])
    ask = " or ".join(f"Cluster={cluster}" for cluster in sorted({cluster for some in runs.values() for cluster in some}))
    return (
        f"{why}; here it runs on {able}",
        f"ask for {ask}, or let the image support a machine type that the zone offers there",
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
