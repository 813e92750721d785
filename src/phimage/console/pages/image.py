"""One image: facts, bytes, findings, where it runs, history and snippets; and why a list has it or not."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from phimage.actions.details import GetPHostImage, GetPHostImageResponse
from phimage.actions.downloads import GetPHostImageDownloadUrl, GetPHostImageDownloadUrlResponse
from phimage.actions.explain import ExplainPHostImage, ExplainPHostImageResponse
from phimage.actions.feed import ListPHostImageChanges, ListPHostImageChangesResponse
from phimage.actions.jobs import ListPHostImageJobs, ListPHostImageJobsResponse
from phimage.actions.matrix import GetPHostImageMatrix, GetPHostImageMatrixResponse, MatrixSet
from phimage.actions.revisions import ListRevisions, ListRevisionsResponse
from phimage.console.pages.hosts import hosts_of_image
from phimage.console.pages.log import one_of_each
from phimage.console.pages.places import clusters_of, machine_types_of, places, region_of, start_zone
from phimage.console.pages.snippets import phimage_command, snippets
from phimage.console.visit import ActionRefused, PageContent, Visit
from phimage.model.ids import natural

FORMS = {"raw": "raw_url", "zst": "zstd_url", "qcow2": "qcow2_url", "sha256": "sha256_url", "manifest": "manifest_url"}
"""The forms of a disk by their names in addresses."""
HISTORY = 20
"""Entries of the history; the log has the others."""


class HistoryChange(Struct, frozen=True):
    """What a revision did to an image. The noun is empty for tenants, whose feed speaks of images alone."""

    verb: str
    noun: str = ""


class HistoryEntry(Struct, frozen=True):
    """A revision that changed an image. `actor` and `action` are empty for tenants, who may not read the log."""

    revision: int
    time: str
    changes: tuple[HistoryChange, ...]
    actor: str = ""
    action: str = ""


class MatrixLine(Struct, frozen=True):
    """A machine type with its cells, one for each cluster of the matrix."""

    machine_type: str
    cells: tuple[MatrixSet, ...]


async def show_image(visit: Visit, id: str) -> PageContent:
    """The page of an image."""
    shown = await visit.ask(GetPHostImage, GetPHostImageResponse, ImageId=id)
    topology = await places(visit)
    zone = visit.address.get("Zone") or next(iter(shown.zones), "") or start_zone(topology)
    matrix = await _matrix(visit, id, region_of(topology, zone), zone)
    return PageContent(
        "image.html",
        {
            "shown": shown,
            "image": shown.image,
            "topology": topology,
            "zone": zone,
            "region": region_of(topology, zone),
            "foreign": visit.session.is_operator and bool(shown.project_id),
            "matrix": matrix,
            "clusters": _offered_clusters(matrix),
            "lines": _lines(matrix),
            "history": await _history(visit, id),
            "hosts": await hosts_of_image(visit, id),
            "jobs": await _jobs(visit, id),
            "forms": tuple(FORMS),
            "snippets": snippets(visit, "GetPHostImage", {"ImageId": id}, phimage_command(visit, ["image", "show", id])),
        },
    )


async def show_why(visit: Visit, id: str) -> PageContent:
    """The page that explains whether a list has an image."""
    address = visit.address
    topology = await places(visit)
    zone = address.get("Zone") or start_zone(topology)
    asked = {
        "Region": region_of(topology, zone),
        "Zone": zone,
        "ImageId": id,
        **{name: address.get(name) for name in ("MachineType", "Cluster", "ImageType") if address.get(name)},
    }
    explained = await visit.ask(ExplainPHostImage, ExplainPHostImageResponse, **asked)
    shown = await _image_or_none(visit, id)
    machine_types = machine_types_of(topology, zone)
    command = [
        *("image", "explain", id, "--region", asked["Region"], "--zone", zone),
        *(["--machine-type", asked["MachineType"]] if "MachineType" in asked else []),
        *(["--cluster", asked["Cluster"]] if "Cluster" in asked else []),
    ]
    return PageContent(
        "why.html",
        {
            "id": id,
            "explained": explained,
            "shown": shown,
            "topology": topology,
            "zone": zone,
            "region": region_of(topology, zone),
            "machine_types": machine_types,
            "clusters": clusters_of(topology, zone, address.get("MachineType")),
            "snippets": snippets(visit, "ExplainPHostImage", asked, phimage_command(visit, command)),
        },
    )


async def download(visit: Visit, id: str, form: str) -> PageContent:
    """Send the browser to a form of the disk, by a URL that is good for an hour."""
    urls = await visit.ask(GetPHostImageDownloadUrl, GetPHostImageDownloadUrlResponse, ImageId=id)
    found: str = getattr(urls, FORMS[form])
    return PageContent(location=found)


async def _image_or_none(visit: Visit, id: str) -> GetPHostImageResponse | None:
    """The image; None for one that may not be seen, about which the explanation says as much as it may."""
    try:
        return await visit.ask(GetPHostImage, GetPHostImageResponse, ImageId=id)
    except ActionRefused:
        return None


async def _matrix(visit: Visit, id: str, region: str, zone: str) -> GetPHostImageMatrixResponse | None:
    """The matrix of the image in a zone; None in a catalogue without places."""
    if not region:
        return None
    return await visit.ask(GetPHostImageMatrix, GetPHostImageMatrixResponse, ImageId=id, Region=region, Zone=zone)


def _offered_clusters(matrix: GetPHostImageMatrixResponse | None) -> list[str]:
    """The clusters that the zone offers or the image supports with any machine type."""
    cells = matrix.matrix_set if matrix else ()
    return sorted({cell.cluster for cell in cells if cell.offered or cell.supported}, key=natural)


def _lines(matrix: GetPHostImageMatrixResponse | None) -> list[MatrixLine]:
    cells: dict[str, list[MatrixSet]] = {}
    clusters = _offered_clusters(matrix)
    for cell in matrix.matrix_set if matrix else ():
        if cell.cluster in clusters:
            cells.setdefault(cell.machine_type, []).append(cell)
    for some in cells.values():
        some.sort(key=lambda cell: natural(cell.cluster))
    return [MatrixLine(kind, tuple(some)) for kind, some in cells.items() if any(cell.offered for cell in some)]


async def _history(visit: Visit, id: str) -> Sequence[HistoryEntry]:
    """The last changes of the image, newest first."""
    if visit.session.is_operator:
        log = await visit.ask(ListRevisions, ListRevisionsResponse, Id=id, Limit=HISTORY)
        return [
            HistoryEntry(
                record.revision,
                record.time,
                tuple(HistoryChange(change.verb, change.noun) for change in record.changes if change.id == id),
                record.actor,
                record.action,
            )
            for record in log.revision_set
        ]
    feed = await visit.ask(ListPHostImageChanges, ListPHostImageChangesResponse, ImageId=id, Limit=1000)
    return [
        HistoryEntry(change.revision, change.time, (HistoryChange(change.change),))
        for change in one_of_each(feed.change_set[::-1])[:HISTORY]
    ]


async def _jobs(visit: Visit, id: str) -> ListPHostImageJobsResponse:
    """The newest publications of the image, by the present catalogue."""
    project = None if visit.session.is_operator else visit.address.get("ProjectId") or None
    return await visit.change(ListPHostImageJobs, ListPHostImageJobsResponse, ImageId=id, Limit=5, ProjectId=project)
