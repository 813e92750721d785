"""Publishing: a file of the browser or a URL, what it is, where it runs, and a dry run before it begins."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from phimage.actions.caller import GetProjectList, GetProjectListResponse
from phimage.actions.publish import PublishPHostImage, PublishPHostImageResponse
from phimage.actions.topology import GetTopologyResponse
from phimage.console.changes import GO, NONCE, SHOWN, STEP, Parameters, digest, parameters_of
from phimage.console.file_guess import guess
from phimage.console.form import Form
from phimage.console.pages.places import places, short_support, start_zone
from phimage.console.sentences import translate
from phimage.console.texts import LANGUAGES, Texts
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
    """What is said about the first bytes of a file. `lang` is that of a text without a translation, `id` that of a finding."""

    text: str
    lang: str
    refuses: bool
    id: str = ""
    override: bool = False


async def show_publish(visit: Visit) -> PageContent:
    """The page with the form."""
    return PageContent("publish.html", await _values(visit, visit.form))


async def act(visit: Visit) -> PageContent:
    """Show what the publication would change, or begin it."""
    form = visit.form
    topology = await places(visit)
    parameters = _parameters(form, topology)
    values, shown = await _values(visit, form), digest(parameters)
    is_confirmed = form.get(STEP) == GO
    try:
        if is_confirmed and form.get(SHOWN) == shown:
            begun = await visit.change_once(form.get(NONCE), PublishPHostImage, PublishPHostImageResponse, **parameters)
            return _begun(visit, begun)
        tried = await visit.try_out(PublishPHostImage, **parameters)
    except ActionRefused as refused:
        return PageContent("publish.html", {**values, "refused": refused}, status=200)
    outcome = {"tried": tried, "nonce": visit.nonces.make(), "given": parameters, "shown": shown, "is_other": is_confirmed}
    return PageContent("publish.html", {**values, **outcome})


async def look_at_head(visit: Visit) -> PageContent:
    """What the name and the first bytes of a file show, for the script of the form."""
    name = visit.address.get("FileName")
    size = visit.address.get("Size")
    found = msgspec.to_builtins(guess(name))
    known_size = int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None
    examined = await asyncio.to_thread(_examine, visit.content, known_size, visit.text)
    return PageContent(json={**found, **examined})


def _examine(head: bytes, size: int | None, text: Texts) -> dict[str, Any]:
    """Format, size of the disk and findings; one finding without an id if the file is refused as a whole."""
    try:
        check_head("the file", head)
        examination = examine_first(head, size, "", frozenset(), LIMITS) if head else None
    except PhimageError as error:
        return {"Findings": msgspec.to_builtins([HeadFinding(*_said(text, str(error)), refuses=True)])}
    if examination is None:
        return {"Findings": []}
    findings = [
        HeadFinding(
            *_said(text, f"{finding.id}: {finding.text}"),
            refuses=finding.severity is Severity.REFUSE,
            id=finding.id,
            override=finding.override,
        )
        for finding in examination.findings
    ]
    return {
        "Format": examination.format.value,
        "VirtualSize": examination.virtual_size or 0,
        "Findings": msgspec.to_builtins(findings),
    }


def _said(text: Texts, sentence: str) -> tuple[str, str]:
    """A sentence in the language of the page, and the language of one without a translation."""
    words = translate(text, sentence)
    return (words, "") if words else (sentence, LANGUAGES[0])


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
        "shown": "",
        "is_other": False,
    }
