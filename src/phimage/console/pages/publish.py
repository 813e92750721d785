"""Publishing: a file of the browser or a URL, what it is, where it runs, and a dry run before it begins."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from phimage.actions.caller import GetProjectList, GetProjectListResponse
from phimage.actions.publish import PublishPHostImage, PublishPHostImageResponse
from phimage.actions.topology import GetTopologyResponse
from phimage.console.changes import GO, NONCE, STEP, Parameters, parameters_of
from phimage.console.file_guess import guess
from phimage.console.form import Form
from phimage.console.pages.places import places, short_support, start_zone
from phimage.console.visit import ActionRefused, PageContent, Visit
from phimage.errors import PhimageError
from phimage.formats.finding import Severity
from phimage.formats.limits import LIMITS
from phimage.model.image import ImageType
from phimage.publishing.original import examine_first
from phimage.sources.sniff import HEAD, check_head

MAX_HEAD = HEAD
MATRIX = "Support"


class HeadFinding(Struct, frozen=True, rename="pascal"):
    """A finding about the first bytes of a file."""

    id: str
    text: str
    refuses: bool
    override: bool


async def show_publish(visit: Visit) -> PageContent:
    """The page with the form."""
    return PageContent("publish.html", await _values(visit, visit.form))


async def act(visit: Visit) -> PageContent:
    """Show what the publication would change, or begin it."""
    form = visit.form
    topology = await places(visit)
    parameters = _parameters(form, topology)
    values = await _values(visit, form)
    try:
        if form.get(STEP) == GO:
            begun = await visit.change_once(form.get(NONCE), PublishPHostImage, PublishPHostImageResponse, **parameters)
            return _begun(visit, begun)
        tried = await visit.try_out(PublishPHostImage, **parameters)
    except ActionRefused as refused:
        return PageContent("publish.html", {**values, "refused": refused}, status=200)
    return PageContent("publish.html", {**values, "tried": tried, "nonce": visit.nonces.make(), "given": parameters})


async def look_at_head(visit: Visit) -> PageContent:
    """What the name and the first bytes of a file show, for the script of the form."""
    name = visit.address.get("FileName")
    size = visit.address.get("Size")
    found = msgspec.to_builtins(guess(name))
    examined = await asyncio.to_thread(_examine, visit.content, int(size) if size.isdigit() and len(size) < 19 else None)
    return PageContent(json={**found, **examined})


def _examine(head: bytes, size: int | None) -> dict[str, Any]:
    """Format, size of the disk and findings; Problem says why the file is refused as a whole."""
    try:
        check_head("the file", head)
        examination = examine_first(head, size, "", frozenset(), LIMITS) if head else None
    except PhimageError as error:
        return {"Problem": str(error), "Findings": []}
    if examination is None:
        return {"Problem": "", "Findings": []}
    findings = [
        HeadFinding(finding.id, finding.text, finding.severity is Severity.REFUSE, finding.override)
        for finding in examination.findings
    ]
    return {
        "Problem": "",
        "Format": examination.format.value,
        "VirtualSize": examination.virtual_size or 0,
        "Findings": msgspec.to_builtins(findings),
    }


def _begun(visit: Visit, begun: PublishPHostImageResponse) -> PageContent:
    """Lead to the page of the job. A script that holds the file goes there without leaving its page, to go on with it."""
    page = visit.address.link(f"jobs/{begun.job_id}", ProjectId=begun.project_id)
    if visit.form.get("_keep"):
        place = msgspec.json.encode({"path": page, "target": "#main", "select": "#main", "swap": "outerHTML"}).decode("ascii")
        return PageContent(json={}, fields={"HX-Location": place})
    return PageContent(location=page)


def _parameters(form: Form, topology: GetTopologyResponse) -> Parameters:
    """The parameters of the form. A machine type with all clusters that its zones offer is named once."""
    found = parameters_of(form, PublishPHostImage)
    ways = {"digest": "Digest", "checksum": "ChecksumUrl"}
    for way, name in ways.items():
        if form.get("_verify") != way:
            found.pop(name, None)
    if form.get("_verify") == "trust":
        found["TrustFirstUse"] = True
    if form.get("_from") == "url":
        found["FileName"] = found.get("Url", "").partition("?")[0].rpartition("/")[2][:255] or None
        found.pop("Size", None)
    else:
        found.pop("Url", None)
    if found.get("ImageType") == ImageType.BASE.value:
        found["ProjectId"] = None
    found[MATRIX] = short_support(found.get(MATRIX, []), found.get("Zone", []), topology)
    return found


async def _values(visit: Visit, form: Form) -> dict[str, Any]:
    topology = await places(visit)
    operator = visit.session.is_operator
    projects = () if operator else (await visit.change(GetProjectList, GetProjectListResponse)).project_set
    return {
        "form": form,
        "topology": topology,
        "zones": form.all("Zone") or (visit.address.get("Zone") or start_zone(topology),),
        "ticked": set(form.all(MATRIX)),
        "projects": projects,
        "types": (ImageType.BASE, ImageType.CUSTOM) if operator else (ImageType.CUSTOM,),
        "publication": form.get("Token") or f"console-{visit.nonces.make().split('.')[1]}",
        "refused": None,
        "tried": None,
        "nonce": "",
        "given": {},
    }
