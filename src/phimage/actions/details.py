"""One image whole: where it is placed, what runs it, what its bytes are."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from phimage.actions.images import ImageIdParam, PHostImageSet, on_wire, visible_image
from phimage.actions.service import Call
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import MachineTypeId
from phimage.model.image import Image
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Topology
from phimage.sources.url import shown


class GetPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show one image whole: where it is placed and which machine types run it on which clusters."""

    image_id: ImageIdParam


class Runs(Struct, rename="pascal", frozen=True, kw_only=True):
    """A machine type that can run an image."""

    machine_type: Annotated[str, Meta(description="machine type")]
    clusters: Annotated[tuple[str, ...], Meta(description="the clusters on which it can")]
    zones: Annotated[tuple[str, ...], Meta(description="zones of the image that offer the machine type on one of them")]


class ImageDiskSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """The bytes of an image, and what is known of them. What is not known is empty."""

    digest: Annotated[str, Meta(description="sha256:<hex> of the raw disk")]
    size: Annotated[int, Meta(description="bytes of the raw disk")]
    publish_time: Annotated[int, Meta(description="when they were whole and verified, Unix seconds")]
    table: Annotated[str, Meta(description="partition table: gpt or mbr")]
    boot: Annotated[tuple[str, ...], Meta(description="how it boots: bios, uefi")]
    system: Annotated[str, Meta(description="operating system, as its os-release names it")]
    architecture: Annotated[str, Meta(description="such as x86_64")]
    kernels: Annotated[tuple[str, ...], Meta(description="versions of its kernels")]


class OriginSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """Where the bytes of an image came from, or are to come from."""

    source: Annotated[str, Meta(description="URL, or uploaded")]
    digest: Annotated[str, Meta(description="of the original file")]
    digest_origin: Annotated[str, Meta(description="why that digest is believed")]
    format: Annotated[str, Meta(description="what the original was: raw, qcow2, ...")]
    override: Annotated[tuple[str, ...], Meta(description="findings that the operator took the blame for")]
    failure: Annotated[str, Meta(description="why the image did not get its bytes")]
    findings: Annotated[tuple[str, ...], Meta(description="what the inspection remarked, as id: text")]


class GetPHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """One image whole."""

    image: Annotated[PHostImageSet, Meta(description="as in lists; Support is that of all its zones")]
    family: Annotated[str, Meta(description="what stays the same from version to version")]
    deprecated: Annotated[bool, Meta(description="no longer listed, answers when asked for by its id")]
    zones: Annotated[tuple[str, ...], Meta(description="where it is placed")]
    runs: Annotated[tuple[Runs, ...], Meta(description="what it supports, whether offered now or not")] = field(
        default_factory=tuple
    )
    disk: Annotated[ImageDiskSet | None, Meta(description="its bytes; null when it has none")] = None
    origin: Annotated[OriginSet | None, Meta(description="where they came from; only the operator is told")] = None


def get_phost_image(request: GetPHostImage, call: Call) -> GetPHostImageResponse:
    topology = call.view.topology()
    image = visible_image(request.image_id, call)
    content = call.view.image_bytes_of(image.project).get(image.id)
    return GetPHostImageResponse(
        image=on_wire(image, image.zones, topology),
        family=image.family,
        deprecated=image.deprecated,
        zones=image.zones,
        runs=tuple(_runs(image, kind, topology) for kind in sorted(image.support)),
        disk=_disk(content) if content and content.stored else None,
        origin=_origin(content) if content and call.caller.account.operator else None,
    )


def _runs(image: Image, kind: MachineTypeId, topology: Topology) -> Runs:
    clusters = image.support[kind]
    zones = (zone for zone in image.zones if topology.offered.get(zone, {}).get(kind, frozenset()).intersection(clusters))
    return Runs(machine_type=kind, clusters=clusters, zones=tuple(zones))


def _disk(content: ImageBytes) -> ImageDiskSet:
    facts = content.facts
    system = facts.get("system", {})
    return ImageDiskSet(
        digest=f"sha256:{content.sha256}",
        size=content.size,
        publish_time=content.published,
        table=facts.get("table", {}).get("type", ""),
        boot=tuple(facts.get("boot", ())),
        system=system.get("pretty_name", ""),
        architecture=system.get("architecture", ""),
        kernels=tuple(facts.get("kernels", ())),
    )


def _origin(content: ImageBytes) -> OriginSet:
    return OriginSet(
        source=shown(content.source) if content.source else "uploaded",
        digest=content.source_digest,
        digest_origin=content.digest_origin,
        format=content.format,
        override=content.overrides,
        failure=content.failure,
        findings=content.findings,
    )


ACTIONS = (Action(GetPHostImage, GetPHostImageResponse, get_phost_image, Right.READ, project=True),)
