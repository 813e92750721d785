"""The list of images: what a machine can run, and what else there is, by filters that can be shared as an address."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from phimage.actions.details import ImageDiskSet, OriginSet
from phimage.actions.find import ALL, FindPHostImages, FindPHostImagesResponse
from phimage.actions.images import PHostImageSet
from phimage.actions.jobs import ListPHostImageJobs, ListPHostImageJobsResponse, PHostImageJobSet
from phimage.console.address import Address
from phimage.console.pages.places import clusters_of, machine_types_of, places, project_choices
from phimage.console.pages.snippets import snippets
from phimage.console.pagination import ROWS, columns, page_number, pages_of
from phimage.console.visit import PageContent, Visit
from phimage.model.image import State
from phimage.model.search import Deprecation, SortOrder

FILTERS = ("Zone", "MachineType", "Cluster", "ImageType", "State", "Family", "Deprecated", "Label", "HasBytes", "q")
"""The parameters that hide images."""
COLUMNS = ("name", "id", "version", "runs", "state", "size", "stored", "created")


class ImageRow(Struct, rename="pascal", frozen=True, kw_only=True):
    """Those fields of PHostImageDetails that the list shows; decoding the others takes most of the time."""

    image: PHostImageSet
    project_id: str
    family: str
    deprecated: bool
    successor: str
    labels: dict[str, str]
    disk: ImageDiskSet | None
    origin: OriginSet | None


class ImageRows(Struct, rename="pascal", frozen=True, kw_only=True):
    """FindPHostImagesResponse with these rows."""

    total_count: int
    image_set: tuple[ImageRow, ...]


async def show_images(visit: Visit) -> PageContent:
    """The page of the list."""
    address = visit.address
    topology = await places(visit)
    parameters = search_parameters(visit)
    page, limit = page_number(address), min(ROWS, visit.max_limit)
    found = await visit.ask(
        FindPHostImages, ImageRows, **parameters, Limit=limit, Offset=(page - 1) * limit, Sort=_sort(address)
    )
    hidden = 0
    if any(address.get(name) for name in FILTERS if name != "Zone"):
        kept = {name: parameters[name] for name in ("ProjectId", "Zone", "Deprecated") if name in parameters}
        everything = await visit.ask(FindPHostImages, FindPHostImagesResponse, **{**kept, "Deprecated": "include"}, Limit=0)
        hidden = everything.total_count - found.total_count
    machine_types = machine_types_of(topology, address.get("Zone"))
    return PageContent(
        "images.html",
        {
            "rows": found.image_set,
            "jobs": await _jobs(found.image_set, visit),
            "total": found.total_count,
            "hidden": hidden,
            "offered": len(machine_types),
            "pages": pages_of(address, found.total_count, len(found.image_set), limit),
            "columns": columns(
                address,
                COLUMNS,
                sortable=("name", "version", "size", "created"),
                descending=("size", "created"),
                numbers=("size", "stored"),
            ),
            "topology": topology,
            "machine_types": machine_types,
            "clusters": clusters_of(topology, address.get("Zone"), address.get("MachineType")),
            "states": tuple(State),
            "projects": await project_choices(visit),
            "snippets": snippets(visit, "FindPHostImages", {**parameters, "Sort": _sort(address)}),
        },
    )


# docs/decisions.md#deprecated-images-are-shown-in-the-console
def search_parameters(visit: Visit) -> dict[str, Any]:
    """The parameters of FindPHostImages that an address means. Deprecated images are shown unless it says otherwise."""
    address = visit.address
    found: dict[str, Any] = {
        name: address.get(name)
        for name in ("Zone", "MachineType", "Cluster", "ImageType", "State", "Family", "ProjectId")
        if address.get(name)
    }
    if visit.session.is_operator:
        found.setdefault("ProjectId", ALL)
    if address.get("q"):
        found["Text"] = address.get("q")
    if address.get("Label"):
        found["Label"] = [address.get("Label")]
    if address.get("HasBytes") in ("true", "false"):
        found["HasBytes"] = address.get("HasBytes") == "true"
    found["Deprecated"] = address.get("Deprecated") or Deprecation.INCLUDE.value
    return found


def _sort(address: Address) -> str | None:
    """The order of the list; that of the API for anything that is none."""
    return address.get("sort") if address.get("sort") in tuple(SortOrder) else None


async def _jobs(rows: tuple[ImageRow, ...], visit: Visit) -> dict[str, PHostImageJobSet]:
    """The jobs of the images of the page that are being made, by image. A past catalogue has none: jobs are of the present."""
    if visit.address.is_pinned or not any(row.image.state == State.MAKING for row in rows):
        return {}
    project = None if visit.session.is_operator else visit.address.get("ProjectId") or None
    found = await visit.change(ListPHostImageJobs, ListPHostImageJobsResponse, State="Unfinished", Limit=200, ProjectId=project)
    return {job.image_id: job for job in found.job_set}
