"""Publishing images, for the operator: what an image is, and where its bytes come from. `uploading` has what follows."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.service import Call, Service
from phimage.catalog import jobs
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.image_bytes import expect_image_bytes, known_since, left_of
from phimage.catalog.images import IMAGES, once_given
from phimage.catalog.revisions import Change
from phimage.errors import MissingParam, QuotaExceeded, ServiceUnavailable, TooLargeParam, UnavailableParam
from phimage.formats.examine import STATED
from phimage.formats.kinds import KINDS
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ClusterId, ImageId, MachineTypeId, ProjectId, Revision, ZoneId, new_image_id, new_job_id
from phimage.model.image import NO_PROJECT, Image, ImageType, State
from phimage.model.job import Job, JobState, Origin, new_job
from phimage.model.topology import Topology
from phimage.sources.digest import read_digest
from phimage.sources.errors import SourceError
from phimage.sources.url import read_url

UPLOAD_SECONDS = 3600
"""How long an upload URL works; the client asks for another one when it has run out."""

NameParam = Annotated[str, Meta(min_length=1, max_length=128, description="ImageName: what people call the image")]
SupportParam = Annotated[
    tuple[Annotated[str, Meta(max_length=130)], ...],
    Meta(description="machine types that run it, each as TYPE for every cluster that its zones offer, or TYPE:CLUSTER"),
]
DigestParam = Annotated[str, Meta(max_length=200, description="sha256:<hex> or sha512:<hex> of the original file")]


class PublishPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Publish an image: say what it is, and where its bytes come from. It is Making until they are whole.

    Without Url the answer has the address to which the original is uploaded. A Token makes the call repeatable: a second one
    with the same Token answers with the first one's image, unless that failed or is gone.
    """

    name: NameParam
    os_type: Annotated[str, Meta(min_length=1, max_length=64, description="distribution family: CentOS, Ubuntu, ...")]
    os_name: Annotated[str, Meta(min_length=1, max_length=128, description="OsName: the operating system, for people")]
    zone: Annotated[tuple[ZoneId, ...], Meta(description="zones that it is placed in")]
    support: SupportParam
    version: Annotated[str, Meta(max_length=64, description="free text that the operator chooses")] = ""
    family: Annotated[
        str, Meta(pattern=r"^([a-z0-9][a-z0-9.-]{0,62})?$", description="what stays the same from version to version")
    ] = ""
    description: Annotated[str, Meta(max_length=1024, description="ImageDescription")] = ""
    image_type: Annotated[ImageType, Meta(description="Base, or Custom for the images of one project")] = ImageType.BASE
    project_id: Annotated[ProjectId | None, Meta(description="the project of a Custom image")] = None
    size: Annotated[int, Meta(ge=0, description="bytes of the original file, 0 when they are not known")] = 0
    file_name: Annotated[str, Meta(max_length=255, description="name of the original, as a checksum file has it")] = ""
    url: Annotated[str, Meta(max_length=8192, description="http(s) URL of the original; absent for an upload")] = ""
    digest: DigestParam = ""
    checksum_url: Annotated[
        str, Meta(max_length=8192, description="http(s) URL of a checksum file that has the original's digest")
    ] = ""
    trust_first_use: Annotated[bool, Meta(description="publish without a digest, and record the one that is found")] = False
    format: Annotated[str, Meta(max_length=16, description="what the original is; absent for what its bytes say")] = ""
    override: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...],
        Meta(description="ids of findings that do not stop this image; the log records them"),
    ] = ()
    token: Annotated[str, Meta(max_length=128, description="makes the call repeatable; any text of the caller's")] = ""


class PublishPHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """An image that is being published."""

    image_id: Annotated[str, Meta(description="the new image")]
    job_id: Annotated[str, Meta(description="the work on it")]
    state: Annotated[str, Meta(description="of the work: Waiting for an upload, Queued, Running, Done")]
    upload_url: Annotated[str, Meta(description="where parts are put (PUT .../0, .../1, ...); empty when none are awaited")]


def publish_phost_image(request: PublishPHostImage, call: Call) -> PublishPHostImageResponse:
    _check_origin(request)
    project = _project(request)
    _check_room(call.service, request.size)
    support = support_of(request.support, request.zone, call.view.topology())
    with call.service.change(call) as change:
        before = _asked_before(change, request.token)
        if before is not None:
            return _answer(before, known_since(change.connection, before.image), call)
        if project and PROJECTS.find(change.connection, project) is None:
            raise UnavailableParam("ProjectId", detail=f"there is no project {project}")
        _check_quota(change, project, request.size)
        image = ImageId(new_image_id(call.service.random))
        if once_given(change.connection, [image]):
            raise ServiceUnavailable(detail="a new id was given before; try again")
        IMAGES.add_all(change, [_image(image, request, project, support, int(call.time))])
        job = _job(image, request, project, call)
        expect_image_bytes(change, job)
    return _answer(job, change.number, call)


def _answer(job: Job, revision: Revision, call: Call) -> PublishPHostImageResponse:
    state = job.state if job.unfinished or call.service.is_everywhere(revision) else JobState.RUNNING
    waits = job.state is JobState.WAITING
    url = call.service.upload_url(job.id, call, int(call.time) + UPLOAD_SECONDS) if waits else ""
    return PublishPHostImageResponse(image_id=job.image, job_id=job.id, state=state.value, upload_url=url)


def support_of(
    asked: tuple[str, ...], zones: tuple[ZoneId, ...], topology: Topology
) -> dict[MachineTypeId, tuple[ClusterId, ...]]:
    """Clusters by machine type, from `TYPE` or `TYPE:CLUSTER`. Raises UnavailableParam for what does not exist."""
    if not zones:
        raise MissingParam("Zone", detail="name at least one zone that it is placed in")
    for zone in zones:
        if zone not in topology.zones:
            raise UnavailableParam("Zone", detail=f"there is no zone {zone}")
    found: dict[MachineTypeId, set[ClusterId]] = {}
    for text in asked:
        name, colon, cluster = text.partition(":")
        kind = MachineTypeId(name)
        if kind not in topology.machine_types:
            raise UnavailableParam("Support", detail=f"there is no machine type {name}")
        if colon and cluster not in topology.clusters:
            raise UnavailableParam("Support", detail=f"there is no cluster {cluster}; there are {', '.join(topology.clusters)}")
        offered = {one for zone in zones for one in topology.offered.get(zone, {}).get(kind, ())}
        if not colon and not offered:
            raise UnavailableParam("Support", detail=f"none of its zones offers {name}; to say so anyway name a cluster too")
        found.setdefault(kind, set()).update({ClusterId(cluster)} if colon else offered)
    return {kind: tuple(sorted(clusters)) for kind, clusters in sorted(found.items())}


def _check_origin(request: PublishPHostImage) -> None:
    """Raises RequestError unless it is said how the bytes are known to be the right ones."""
    digest_param("Digest", request.digest)
    for name, url in (("Url", request.url), ("ChecksumUrl", request.checksum_url)):
        try:
            if url:
                read_url(url)
        except SourceError as error:
            raise UnavailableParam(name, detail=str(error)) from None
    known = sum(map(bool, (request.digest, request.checksum_url, request.trust_first_use)))
    if known != 1:
        told = "say how the original is known: one of Digest, ChecksumUrl, or TrustFirstUse to record what is found"
        raise (UnavailableParam if known else MissingParam)("Digest", detail=told)
    if request.format and request.format.lower() not in STATED:
        raise UnavailableParam("Format", detail=f"expected one of {', '.join(sorted(STATED))}")
    for id in request.override:
        kind = KINDS.get(id)
        if kind is None or not kind.override:
            allowed = ", ".join(sorted(kind.id for kind in KINDS.values() if kind.override))
            raise UnavailableParam("Override", detail=f"{id} cannot be overridden; these can: {allowed}")


def digest_param(name: str, text: str) -> str:
    """A digest in its usual notation, or nothing. Raises UnavailableParam."""
    try:
        return str(read_digest(text)) if text else ""
    except SourceError as error:
        raise UnavailableParam(name, detail=str(error)) from None


def _project(request: PublishPHostImage) -> ProjectId:
    if request.image_type is ImageType.CUSTOM and not request.project_id:
        raise MissingParam("ProjectId", detail="a Custom image belongs to a project")
    if request.image_type is ImageType.BASE and request.project_id:
        raise UnavailableParam("ProjectId", detail="a Base image belongs to no project")
    return request.project_id or NO_PROJECT


def _asked_before(change: Change, token: str) -> Job | None:
    """The job of an earlier call with the same token, if something came of it or still can."""
    job = jobs.find_token(change.connection, token) if token else None
    if job is None or job.state is JobState.FAILED or IMAGES.find(change.connection, job.image) is None:
        return None
    return job


def _check_room(service: Service, size: int) -> None:
    """Raises TooLargeParam when it is known already that the bytes are too many, or have no room in the store."""
    if size > service.max_original:
        raise TooLargeParam("Size", detail=f"the original may have {service.max_original} bytes at most")
    free = service.store.free_bytes()
    if free is not None and free < service.reserve + size:
        told = f"the store has {free} bytes free and {service.reserve} stay so: make room, `phimage store gc` may help"
        raise TooLargeParam("Size", detail=told)


def _check_quota(change: Change, project: ProjectId, size: int) -> None:
    """Raises QuotaExceeded when the bytes have no room in the project's quota. Exact: the change has the writers' turn."""
    left = left_of(change.connection, project)
    if left is not None and (size > left or left <= 0):
        raise QuotaExceeded(project or "Base", detail=f"{max(0, left)} bytes are left of it")


def _image(
    id: ImageId,
    request: PublishPHostImage,
    project: ProjectId,
    support: dict[MachineTypeId, tuple[ClusterId, ...]],
    created: int,
) -> Image:
    return Image(
        id=id,
        type=request.image_type,
        project=project,
        family=request.family,
        name=request.name,
        os_type=request.os_type,
        os_name=request.os_name,
        version=request.version,
        description=request.description,
        state=State.MAKING,
        deprecated=False,
        size=0,
        created=created,
        zones=tuple(sorted(set(request.zone))),
        support=support,
    )


def _job(image: ImageId, request: PublishPHostImage, project: ProjectId, call: Call) -> Job:
    return new_job(
        id=new_job_id(call.service.random),
        image=image,
        origin=Origin(
            url=request.url,
            digest=digest_param("Digest", request.digest),
            checksum_url=request.checksum_url,
            format=request.format.lower(),
            overrides=tuple(sorted(set(request.override))),
            name=request.file_name,
            size=request.size,
        ),
        created=call.time,
        project=project,
        actor=call.caller.actor,
        token=request.token,
        reserved=request.size,
    )


ACTIONS = (Action(PublishPHostImage, PublishPHostImageResponse, publish_phost_image, Right.OPERATE, changes=True),)
