"""Changing an image: the form with its present values, and what differs from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phimage.actions.details import GetPHostImage, GetPHostImageResponse
from phimage.actions.topology import GetTopologyResponse
from phimage.console.pages.places import places, short_support
from phimage.console.visit import PageContent, Visit

if TYPE_CHECKING:
    from phimage.console.changes import ChangeKind, Parameters

TEXTS = ("Name", "OsType", "OsName", "Version", "Family", "Successor")
"""The parameters of single lines."""
CLEARABLE = ("Version", "Family", "Successor", "Description", "Support", "Label")


async def show_image_edit(visit: Visit, id: str) -> PageContent:
    """The page with the form."""
    details = await _image(visit, id)
    topology = await places(visit)
    ticked = {f"{run.machine_type}:{cluster}" for run in details.runs for cluster in run.clusters}
    return PageContent("image_edit.html", {"details": details, "topology": topology, "ticked": ticked})


async def edited_image(visit: Visit, kind: ChangeKind) -> Parameters:
    """The parameters that change an image into what the form says. Fields and places that the form has not stay as they are."""
    form = visit.form
    before = _values(await _image(visit, form.get("ImageId")))
    ticked = [name for name in ("Zone", "Support") if f"_{name}" in form.values]
    kept = _not_offered(before, await places(visit)) if ticked else {}
    changed: dict[str, Any] = {}
    cleared = []
    for name, old in before.items():
        if not form.all(name) and f"_{name}" not in form.values:
            continue
        new = _entered(name, form.all(name) + kept.get(name, ()))
        if new == old:
            continue
        if new:
            changed[name] = new
        elif name in CLEARABLE:
            cleared.append(name)
    if "Label" in changed:
        keys = {label.partition("=")[0] for label in changed["Label"]}
        removed = [key for label in before["Label"] if (key := label.partition("=")[0]) not in keys]
        changed |= {"RemoveLabel": removed} if removed else {}
    if "Support" in changed:
        changed["Support"] = short_support(changed["Support"], form.all("Zone") or before["Zone"], await places(visit))
    if cleared:
        changed["Clear"] = cleared
    if form.get("State"):
        changed["State"] = form.get("State")
    return {"ImageId": form.get("ImageId"), "ProjectId": form.get("ProjectId") or None, **changed}


async def _image(visit: Visit, id: str) -> GetPHostImageResponse:
    project = visit.address.get("ProjectId") or visit.form.get("ProjectId") or None
    return await visit.change(GetPHostImage, GetPHostImageResponse, ImageId=id, ProjectId=project)


def _values(details: GetPHostImageResponse) -> dict[str, Any]:
    """The present values by parameter: texts, and lists in their order."""
    image = details.image
    return {
        "Name": image.image_name,
        "OsType": image.os_type,
        "OsName": image.os_name,
        "Version": image.version,
        "Family": details.family,
        "Successor": details.successor,
        "Description": image.image_description,
        "Label": sorted(f"{key}={value}" for key, value in details.labels.items()),
        "Zone": sorted(details.zones),
        "Support": sorted(f"{run.machine_type}:{cluster}" for run in details.runs for cluster in run.clusters),
    }


def _not_offered(before: Mapping[str, Any], topology: GetTopologyResponse) -> dict[str, tuple[str, ...]]:
    """The zones and `TYPE:CLUSTER` that no box stands for, such as those of zones that the account may not use any more."""
    zones = {zone.zone for zone in topology.zone_set}
    kinds, clusters = {kind.machine_type for kind in topology.machine_type_set}, {each.cluster for each in topology.cluster_set}
    pairs = [(pair, *pair.split(":", 1)) for pair in before["Support"]]
    return {
        "Zone": tuple(zone for zone in before["Zone"] if zone not in zones),
        "Support": tuple(pair for pair, kind, cluster in pairs if kind not in kinds or cluster not in clusters),
    }


def _entered(name: str, values: tuple[str, ...]) -> Any:
    """What a form has for a parameter, in the form of `_values`."""
    if name in TEXTS:
        return values[-1].strip() if values else ""
    if name == "Description":
        return values[-1].replace("\r\n", "\n").strip() if values else ""
    lines = [line.strip() for value in values for line in value.splitlines() if line.strip()]
    return sorted(set(lines))
