"""The hosts that an image is on: those whose disk has it, and those that are being installed with it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.service import Call
from phimage.catalog.engine import Connection
from phimage.catalog.hosts import HOSTS, hosts_with
from phimage.catalog.orders import open_deployments
from phimage.model.host import Host
from phimage.model.ids import ImageId

DryRunParam = Annotated[bool, Meta(description="change nothing; the response is the same")]


class ImageHost(Struct, rename="pascal", frozen=True, kw_only=True):
    """A host that has an image, or is being installed with it."""

    p_host_id: Annotated[str, Meta(description="id of the host")]
    name: Annotated[str, Meta(description="name of the host")]
    project_id: Annotated[str, Meta(description="project that it belongs to")]
    state: Annotated[str, Meta(description="state of the host")]
    deploying: Annotated[bool, Meta(description="whether it is being installed with the image")]
    deploy_time: Annotated[int, Meta(description="since when its disk has the image, Unix seconds; 0 while it is installed")]


ImageHosts = Annotated[
    tuple[ImageHost, ...],
    Meta(description="hosts that have the image or are being installed with it; for tenants those of the project"),
]


# docs/decisions.md#an-image-may-be-withdrawn-while-hosts-run-it
def hosts_of_image(connection: Connection, image: ImageId, call: Call) -> tuple[ImageHost, ...]:
    """The hosts of an image that the caller may see, by id."""
    on_disk = {host.id: host for host in hosts_with(connection, image)}
    found = [(host, False) for host in on_disk.values()]
    for order in open_deployments(connection, image):
        host = HOSTS.find(connection, order.host)
        if host is not None and host.order == order.id:
            found = [(other, new) for other, new in found if other.id != host.id] + [(host, True)]
    return tuple(_row(host, deploying) for host, deploying in sorted(found, key=lambda each: each[0].id) if _sees(host, call))


def _sees(host: Host, call: Call) -> bool:
    return call.caller.account.operator or host.project == call.project


def _row(host: Host, deploying: bool) -> ImageHost:
    return ImageHost(
        p_host_id=host.id,
        name=host.tenant_name or host.name,
        project_id=host.project,
        state=host.state.value,
        deploying=deploying,
        deploy_time=0 if deploying else host.deployed,
    )
