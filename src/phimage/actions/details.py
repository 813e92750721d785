"""The details of one image: its zones, its machine types and its bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from phimage.actions.images import ImageIdParam, PHostImageSet, on_wire, visible_image
from phimage.actions.service import Call
from phimage.actions.uploading import is_publisher
from phimage.catalog import jobs
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ImageId, ZoneId
from phimage.model.image import Image, ImageType
from phimage.model.image_bytes import ImageBytes
from phimage.model.job import Job
from phimage.model.topology import Topology
from phimage.sources.url import shown


class GetPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show the details of one image: its zones, its machine types with their clusters, and its bytes."""

    image_id: ImageIdParam


class SupportSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A machine type that can run an image."""

    machine_type: Annotated[str, Meta(description="name of the machine type")]
    clusters: Annotated[tuple[str, ...], Meta(description="clusters on which it can run the image")]
    zones: Annotated[tuple[str, ...], Meta(description="zones of the image that offer it on one of these clusters")]


class ImageDiskSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """The disk of a published image. Unknown fields are empty."""

    digest: Annotated[str, Meta(description="sha256:<hex> of the raw disk")]
    size: Annotated[int, Meta(description="size of the raw disk in bytes")]
    publish_time: Annotated[int, Meta(description="time of publication, Unix seconds")]
    table: Annotated[str, Meta(description="partition table: gpt or mbr")]
    boot: Annotated[tuple[str, ...], Meta(description="supported firmware: bios, uefi")]
    system: Annotated[str, Meta(description="operating system, PRETTY_NAME of its os-release")]
    architecture: Annotated[str, Meta(description="processor architecture, such as x86_64")]
    kernels: Annotated[tuple[str, ...], Meta(description="versions of the installed kernels")]


class OriginSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """The origin of an image's bytes."""

    source: Annotated[str, Meta(description="URL of the original file, or uploaded")]
    digest: Annotated[str, Meta(description="digest of the original file")]
    digest_origin: Annotated[str, Meta(description="where the digest comes from")]
    format: Annotated[str, Meta(description="format of the original file: raw, qcow2, ...")]
    override: Annotated[tuple[str, ...], Meta(description="ids of findings that the operator overrode")]
    # docs/decisions.md#failure-reasons-are-for-those-who-publish
    failure: Annotated[str, Meta(description="why the publication failed; empty unless it failed")]
    findings: Annotated[tuple[str, ...], Meta(description="findings of the inspection, each as id: text")]


class PHostImageDetails(Struct, rename="pascal", frozen=True, kw_only=True):
    """All that phimage shows of an image."""

    image: Annotated[
        PHostImageSet,
        Meta(description="the image as in lists, with the Support of all its zones, or of those that were asked for"),
    ]
    project_id: Annotated[str, Meta(description="project that owns a custom image; empty for a base image")]
    family: Annotated[str, Meta(description="name that all versions of an image share; empty for none")]
    deprecated: Annotated[bool, Meta(description="whether it is no longer listed; it is still found by its id")]
    deprecation_time: Annotated[
        int, Meta(description="when it was or will be deprecated, Unix seconds; 0 for never or unknown")
    ]
    successor: Annotated[str, Meta(description="id of the image to use instead; empty for none")]
    labels: Annotated[dict[str, str], Meta(description="labels: a text by key")]
    zones: Annotated[tuple[str, ...], Meta(description="zones where the image is available")]
    runs: Annotated[tuple[SupportSet, ...], Meta(description="machine types that can run it, offered or not")] = field(
        default_factory=tuple
    )
    disk: Annotated[ImageDiskSet | None, Meta(description="its disk; null before publication")] = None
    origin: Annotated[
        OriginSet | None, Meta(description="origin of its bytes; null for tenants, but for images that they publish themselves")
    ] = None


class GetPHostImageResponse(PHostImageDetails, rename="pascal", frozen=True, kw_only=True):
    """The details of an image."""


def get_phost_image(request: GetPHostImage, call: Call) -> PHostImageDetails:
    image = visible_image(request.image_id, call)
    image_bytes = call.view.image_bytes_of(image.project).get(image.id)
    return details_of(image, image_bytes, jobs_of([image] if image_bytes else [], call).get(image.id), call)


def details_of(
    image: Image, image_bytes: ImageBytes | None, job: Job | None, call: Call, zones: tuple[ZoneId, ...] | None = None
) -> PHostImageDetails:
    """The details of an image that the caller may see. `job` is that of `jobs_of`.

    Support is that of `zones`, by default of all zones of the image.
    """
    topology = call.view.topology()
    return PHostImageDetails(
        image=on_wire(image, image.zones if zones is None else zones, topology),
        project_id=image.project,
        family=image.family,
        deprecated=image.deprecated,
        deprecation_time=image.deprecation_time,
        successor=image.successor,
        labels=dict(sorted(image.labels.items())),
        zones=image.zones,
        runs=_runs(image, topology),
        disk=_disk(image_bytes) if image_bytes and image_bytes.stored else None,
        origin=_origin_seen(image_bytes, job, call) if image_bytes else None,
    )


def jobs_of(images: Iterable[Image], call: Call) -> dict[ImageId, Job]:
    """The newest jobs of images that a tenant may have published; an operator needs none to see an origin."""
    custom = [image.id for image in images if image.type is ImageType.CUSTOM]
    if call.caller.account.operator or not custom:
        return {}
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        return jobs.newest_of_images(connection, custom)


def _origin_seen(image_bytes: ImageBytes, job: Job | None, call: Call) -> OriginSet | None:
    """The origin of an image for an operator or for the tenant who publishes the image; None for others."""
    if call.caller.account.operator:
        return _origin(image_bytes)
    if job is None or not is_publisher(job, call):
        return None
    return _origin(replace(image_bytes, failure=job.error if image_bytes.failure else ""))


def _runs(image: Image, topology: Topology) -> tuple[SupportSet, ...]:
    offers = [(zone, topology.offered[zone]) for zone in image.zones if zone in topology.offered]
    return tuple(
        SupportSet(
            machine_type=kind,
            clusters=clusters,
            zones=tuple([zone for zone, kinds in offers if kind in kinds and not kinds[kind].isdisjoint(clusters)]),
        )
        for kind, clusters in sorted(image.support.items())
    )


def _disk(image_bytes: ImageBytes) -> ImageDiskSet:
    facts = image_bytes.facts
    system = facts.system
    return ImageDiskSet(
        digest=f"sha256:{image_bytes.sha256}",
        size=image_bytes.size,
        publish_time=image_bytes.published,
        table=facts.table.type if facts.table else "",
        boot=facts.boot or (),
        system=system.pretty_name if system else "",
        architecture=system.architecture if system else "",
        kernels=facts.kernels,
    )


def _origin(image_bytes: ImageBytes) -> OriginSet:
    return OriginSet(
        source=shown(image_bytes.source) if image_bytes.source else "uploaded",
        digest=image_bytes.source_digest,
        digest_origin=image_bytes.digest_origin,
        format=image_bytes.format,
        override=image_bytes.overrides,
        failure=image_bytes.failure,
        findings=image_bytes.findings,
    )


ACTIONS = (Action(GetPHostImage, GetPHostImageResponse, get_phost_image, Right.READ, project=True, any_project=True),)
