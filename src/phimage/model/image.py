"""Images, and the rules by which a query lists them.

`RULES` are named predicates. Lists and explanations use the same ones, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ProjectId, ZoneId
from phimage.model.topology import Topology


class ImageType(StrEnum):
    """Base: published by the operator, visible to everyone. Custom: visible in its project only."""

    BASE = "Base"
    CUSTOM = "Custom"


class State(StrEnum):
    """The states that clients know (wire-protocol 4.4)."""

    MAKING = "Making"
    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"


class Image(Struct, frozen=True):
    """An image. Its id never changes its meaning.

    `project` owns a custom image; a base image has none. `size` is GB of the system disk that the image needs, `created` is
    Unix seconds, `support` are the clusters of each machine type on which it runs. A deprecated image, and a base image that
    has no bytes yet (wire-protocol B26), are listed only if the query names their id.

    `deprecation_time` is Unix seconds: when the image was deprecated, or will be; 0 for never or unknown. `successor` is the
    image to use instead; it may have been withdrawn since. `labels` are the operator's or the owner's own, for filters.
    """

    id: ImageId
    type: ImageType
    project: ProjectId
    family: str
    name: str
    os_type: str
    os_name: str
    version: str
    description: str
    state: State
    deprecated: bool
    size: int
    created: int
    zones: tuple[ZoneId, ...]
    support: Mapping[MachineTypeId, tuple[ClusterId, ...]]
    # docs/decisions.md#a-deprecation-with-a-date-is-a-revision
    deprecation_time: int = 0
    successor: ImageId = ImageId("")
    labels: Mapping[str, str] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that a search looks into."""
        return self.id, self.name, self.os_name, self.family, self.description


MAX_LABELS = 32
"""Max labels of an image."""
LABEL_KEY = r"^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$"
"""The key of a label, such as team or example.com/tier."""
LABEL_KEY_FORM = "1 to 63 lower-case letters, digits and . _ / - between them"
MAX_LABEL_VALUE = 128
"""Max characters of a label's value."""

NO_PROJECT = ProjectId("")
"""Owner of base images."""


def image_of_disk(
    id: ImageId,
    project: ProjectId,
    name: str,
    zones: tuple[ZoneId, ...],
    installed: Image | None,
    support: Mapping[MachineTypeId, tuple[ClusterId, ...]],
) -> Image:
    """A new custom image of a disk. It takes what it is and what it runs on from the image that the disk was installed with.

    `support` is for a disk of unknown content. Its publication sets the size.
    """
    return Image(
        id=id,
        type=ImageType.CUSTOM,
        project=project,
        family=installed.family if installed else "",
        name=name,
        os_type=installed.os_type if installed else "Other",
        os_name=installed.os_name if installed else "unknown",
        version=installed.version if installed else "",
        description="",
        state=State.MAKING,
        deprecated=False,
        size=0,
        created=0,
        zones=zones,
        support=installed.support if installed else support,
    )


class Query(Struct, frozen=True):
    """The parameters of a list. An image must be in one of `zones`; empty `ids` means any image.

    `awaited` are the base images that have no bytes yet; with `operator` they are listed nevertheless.
    """

    project: ProjectId
    zones: tuple[ZoneId, ...]
    type: ImageType | None = None
    ids: frozenset[ImageId] = frozenset()
    machine_type: MachineTypeId | None = None
    cluster: ClusterId | None = None
    awaited: frozenset[ImageId] = frozenset()
    operator: bool = False


class Rule(Struct, frozen=True):
    """A named condition of the list."""

    name: str
    holds: Callable[[Image, Query, Topology], bool]


def _visible(image: Image, query: Query, topology: Topology) -> bool:
    return image.type is ImageType.BASE or image.project == query.project


def _placed(image: Image, query: Query, topology: Topology) -> bool:
    return any(zone in image.zones for zone in query.zones)


def _current(image: Image, query: Query, topology: Topology) -> bool:
    return not image.deprecated or image.id in query.ids


def _whole(image: Image, query: Query, topology: Topology) -> bool:
    return image.id not in query.awaited or query.operator or image.id in query.ids


def _type(image: Image, query: Query, topology: Topology) -> bool:
    return query.type is None or image.type is query.type


def _asked(image: Image, query: Query, topology: Topology) -> bool:
    return not query.ids or image.id in query.ids


def _runs(image: Image, query: Query, topology: Topology) -> bool:
    if query.machine_type is None and query.cluster is None:
        return True
    return any(_runs_in(image, zone, query, topology) for zone in query.zones if zone in image.zones)


def _runs_in(image: Image, zone: ZoneId, query: Query, topology: Topology) -> bool:
    offered = topology.offered.get(zone, {})
    if query.machine_type is None:
        wanted = {query.cluster}
        return any(wanted & offered.get(kind, frozenset()) & set(clusters) for kind, clusters in image.support.items())
    supported = set(image.support.get(query.machine_type, ()))
    return bool(supported & meant_clusters(zone, query.machine_type, query.cluster, topology))


def meant_clusters(
    zone: ZoneId, machine_type: MachineTypeId, cluster: ClusterId | None, topology: Topology
) -> frozenset[ClusterId]:
    """The clusters that a query means by a machine type in a zone (wire-protocol B9).

    A given cluster, if the zone offers the type on it. Without one: the default cluster if the zone offers the type on it, else
    all clusters on which the zone offers the type.
    """
    offered = topology.offered.get(zone, {}).get(machine_type, frozenset())
    if cluster is not None:
        return offered & {cluster}
    default = topology.default_cluster()
    return frozenset({default}) if default in offered else offered


# docs/decisions.md#the-listing-rule-is-python
RULES: tuple[Rule, ...] = (
    Rule("visible", _visible),
    Rule("asked", _asked),
    Rule("type", _type),
    Rule("current", _current),
    Rule("whole", _whole),
    Rule("placed", _placed),
    Rule("runs", _runs),
)
_HOLD = tuple(rule.holds for rule in RULES)


def listed(image: Image, query: Query, topology: Topology) -> bool:
    """Whether a query lists an image: every rule holds."""
    for holds in _HOLD:  # noqa: SIM110 - runs for every image of the scope, and a generator takes twice as long
        if not holds(image, query, topology):
            return False
    return True


def order(image: Image) -> tuple[bool, int, ImageId]:
    """The sort key of lists: base before custom, newest first, then by id (wire-protocol B8). Total: pages never overlap."""
    return (image.type is not ImageType.BASE, -image.created, image.id)


def select(images: Iterable[Image], query: Query, topology: Topology) -> list[Image]:
    """The images that a query lists, in order."""
    return sorted((image for image in images if listed(image, query, topology)), key=order)


def newer(then: Iterable[Image], now: Iterable[Image]) -> list[tuple[str, ImageId]]:
    """The families of a past list that have a newer image in the present list, with that image, by family."""
    known: dict[str, int] = {}
    for image in then:
        if image.family:
            known[image.family] = max(image.created, known.get(image.family, image.created))
    latest: dict[str, Image] = {}
    for image in now:
        if image.family in known and image.created > known[image.family]:
            latest[image.family] = max(image, latest.get(image.family, image), key=lambda image: (image.created, image.id))
    return sorted((family, image.id) for family, image in latest.items())


def supported_types(image: Image, zones: tuple[ZoneId, ...], topology: Topology) -> tuple[MachineTypeId, ...]:
    """`Support` on the wire: the machine types that run the image in these zones (wire-protocol B13)."""
    types = {
        kind
        for zone in zones
        if zone in image.zones
        for kind, offered in topology.offered.get(zone, {}).items()
        if not offered.isdisjoint(image.support.get(kind, ()))
    }
    return tuple(sorted(types))
