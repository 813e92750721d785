"""Hosts: which there are, what each does, and what people order: captures and reinstallations."""

from __future__ import annotations

from typing import Any

from phimage.actions.details import PHostImageDetails
from phimage.actions.find import FindPHostImages, FindPHostImagesResponse
from phimage.actions.host_rows import HostRow
from phimage.actions.hosts import ListHosts, ListHostsResponse
from phimage.console.form import PageError
from phimage.console.pages.places import places, project_choices, region_of
from phimage.console.pagination import ROWS, page_number, pages_of
from phimage.console.visit import PageContent, Visit
from phimage.model.host import HostState
from phimage.model.image import State

MAX_CHOICES = 200
"""Images between which a reinstallation chooses."""


async def show_hosts(visit: Visit) -> PageContent:
    """The page of all hosts."""
    address = visit.address
    state = address.get("State") if address.get("State") in tuple(HostState) else None
    page = page_number(address)
    found = await visit.change(
        ListHosts,
        ListHostsResponse,
        State=state,
        ImageId=address.get("ImageId") or None,
        ProjectId=address.get("ProjectId") or None,
        Offset=(page - 1) * ROWS,
        Limit=ROWS,
    )
    return PageContent(
        "hosts.html",
        {
            "rows": found.host_set,
            "total": found.total_count,
            "states": tuple(HostState),
            "pages": pages_of(address, found.total_count, len(found.host_set)),
            "live": any(host.order for host in found.host_set),
            "projects": await project_choices(visit),
            "topology": await places(visit) if visit.session.is_operator else None,
        },
    )


async def show_host(visit: Visit, id: str) -> PageContent:
    """The page of one host."""
    project = visit.address.get("ProjectId") or None
    found = await visit.change(ListHosts, ListHostsResponse, PHostId=[id], ProjectId=project)
    if not found.host_set:
        raise PageError(404, "absent")
    host = found.host_set[0]
    topology = await places(visit)
    is_stopped = host.state in (HostState.RESCUE, HostState.FAILED)
    values: dict[str, Any] = {
        "host": host,
        "region": region_of(topology, host.zone),
        "live": host.order is not None,
        "can_order": is_stopped and visit.session.may_change and not visit.session.is_operator,
        "choices": await _choices(visit, host) if is_stopped and not visit.session.is_operator else (),
    }
    return PageContent("host.html", values)


async def hosts_of_image(visit: Visit, image: str) -> ListHostsResponse | None:
    """The hosts whose disk has an image; None in a past catalogue, because hosts are of the present."""
    if visit.address.is_pinned:
        return None
    project = visit.address.get("ProjectId") or None
    return await visit.change(ListHosts, ListHostsResponse, ImageId=image, ProjectId=project, Limit=20)


async def _choices(visit: Visit, host: HostRow) -> tuple[PHostImageDetails, ...]:
    """The images with bytes that the machine can run."""
    found = await visit.change(
        FindPHostImages,
        FindPHostImagesResponse,
        Zone=host.zone,
        MachineType=host.machine_type,
        Cluster=host.cluster,
        State=State.AVAILABLE.value,
        HasBytes=True,
        ProjectId=host.project_id or None,
        Limit=min(MAX_CHOICES, visit.max_limit),
    )
    return found.image_set
