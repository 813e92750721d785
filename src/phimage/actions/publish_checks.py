"""Checks that publishing an image shares with other Actions on images: who calls, what it supports, its labels,
whether there is room."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta

from phimage.actions.service import Call, Service
from phimage.catalog import jobs
from phimage.catalog.image_bytes import left_of
from phimage.catalog.revisions import Change
from phimage.errors import MissingParam, QuotaExceeded, TooLargeParam, UnavailableParam
from phimage.model.ids import AccountId, ClusterId, MachineTypeId, ProjectId, ZoneId
from phimage.model.image import LABEL_KEY, LABEL_KEY_FORM, MAX_LABEL_VALUE, MAX_LABELS
from phimage.model.topology import Topology
from phimage.sources.digest import read_digest
from phimage.sources.errors import SourceError

MAX_UNFINISHED = 16
"""Max images that a tenant publishes into a project at once: an upload of unknown size reserves no quota."""

SupportParam = Annotated[
    tuple[Annotated[str, Meta(max_length=130)], ...],
    Meta(description="machine types that can run it: TYPE for every cluster that its zones offer, or TYPE:CLUSTER"),
]
LabelsParam = Annotated[
    tuple[Annotated[str, Meta(max_length=64 + MAX_LABEL_VALUE)], ...],
    Meta(description=f"labels to set, each as key=value; the key is {LABEL_KEY_FORM}"),
]
DigestParam = Annotated[str, Meta(max_length=200, description="sha256:<hex> or sha512:<hex> of the original file")]


def tenant_of_call(call: Call) -> AccountId:
    """The account of a tenant; empty for an operator account."""
    return AccountId("") if call.caller.account.operator else call.caller.account.id


def support_of(
    entries: tuple[str, ...], zones: tuple[ZoneId, ...], topology: Topology
) -> dict[MachineTypeId, tuple[ClusterId, ...]]:
    """Clusters by machine type, from `TYPE` or `TYPE:CLUSTER`. Raises UnavailableParam for an unknown name."""
    if not zones:
        raise MissingParam("Zone", detail="name at least one zone")
    for zone in zones:
        if zone not in topology.zones:
            raise UnavailableParam("Zone", detail=f"there is no zone {zone}")
    support: dict[MachineTypeId, set[ClusterId]] = {}
    for text in entries:
        name, colon, cluster = text.partition(":")
        kind = MachineTypeId(name)
        if kind not in topology.machine_types:
            raise UnavailableParam("Support", detail=f"there is no machine type {name}")
        if colon and cluster not in topology.clusters:
            raise UnavailableParam("Support", detail=f"there is no cluster {cluster}; there are {', '.join(topology.clusters)}")
        offered = {one for zone in zones for one in topology.offered.get(zone, {}).get(kind, ())}
        if not colon and not offered:
            raise UnavailableParam("Support", detail=f"none of its zones offers {name}; name a cluster to override this")
        support.setdefault(kind, set()).update({ClusterId(cluster)} if colon else offered)
    return {kind: tuple(sorted(clusters)) for kind, clusters in sorted(support.items())}


def with_labels(before: Mapping[str, str], texts: Iterable[str]) -> dict[str, str]:
    """Labels with others, each as key=value, set. Raises UnavailableParam or TooLargeParam."""
    labels = dict(before)
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not re.fullmatch(LABEL_KEY, key):
            raise UnavailableParam("Label", detail=f"expected key=value, whose key is {LABEL_KEY_FORM}")
        if len(value) > MAX_LABEL_VALUE:
            raise TooLargeParam("Label", detail=f"the value of {key} has more than {MAX_LABEL_VALUE} characters")
        labels[key] = value
    if len(labels) > MAX_LABELS:
        raise TooLargeParam("Label", detail=f"an image has at most {MAX_LABELS} labels: give fewer, or remove some first")
    return labels


def digest_param(name: str, text: str) -> str:
    """The canonical form of a digest; empty for none. Raises UnavailableParam."""
    try:
        return str(read_digest(text)) if text else ""
    except SourceError as error:
        raise UnavailableParam(name, detail=str(error)) from None


def check_room(service: Service, size: int, free: int | None, tenant: AccountId) -> None:
    """Raises TooLargeParam when the bytes are over the limit, or over the store's `free` ones; None if these are unknown."""
    if size > service.max_original:
        raise TooLargeParam("Size", detail=f"an original file has at most {service.max_original} bytes")
    if free is not None and free < service.min_free + size:
        reason = (
            f"the store has {free} bytes free and must keep {service.min_free}: free some, for example with `phimage store gc`"
        )
        raise TooLargeParam("Size", detail="the store has no room for it: ask your operator" if tenant else reason)


def check_quota(change: Change, project: ProjectId, size: int, tenant: AccountId) -> None:
    """Raises QuotaExceeded when the bytes exceed the project's quota. Exact, because the change holds the writers' lock."""
    left = left_of(change.connection, project)
    if left is not None and (size > left or left <= 0):
        remedy = "remove images, or ask your operator to raise the quota" if tenant else "raise the quota or withdraw images"
        raise QuotaExceeded(project or "Base", detail=f"{max(0, left)} bytes are left: {remedy}")
    if tenant and jobs.unfinished(change.connection, project) >= MAX_UNFINISHED:
        remedy = f"{MAX_UNFINISHED} of its images are being published: wait for one, or remove one"
        raise QuotaExceeded(project, detail=remedy)
