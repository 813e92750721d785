"""Publication of images. The upload and the job are in `uploading`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import check_zone_allowed
from phimage.actions.publish_checks import (
    DigestParam,
    LabelsParam,
    SupportParam,
    check_quota,
    check_room,
    digest_param,
    support_of,
    tenant_of_call,
    with_labels,
)
from phimage.actions.service import Call
from phimage.catalog import jobs
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.image_bytes import expect_image_bytes, known_since
from phimage.catalog.images import IMAGES, once_given
from phimage.catalog.revisions import Change
from phimage.errors import MissingParam, NotPermitted, ServiceUnavailable, UnavailableParam
from phimage.fields import shared_values, with_controls
from phimage.formats.table import KINDS, STATED_NAMES
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import (
    AccountId,
    ClusterId,
    ImageId,
    MachineTypeId,
    ProjectId,
    Revision,
    ZoneId,
    new_image_id,
    new_job_id,
)
from phimage.model.image import NO_PROJECT, Image, ImageType, State
from phimage.model.job import Job, JobState, Origin, new_job
from phimage.sources.address_policy import PUBLIC_INTERNET
from phimage.sources.errors import SourceError, UrlRefused
from phimage.sources.url import read_url

UPLOAD_SECONDS = 3600
"""Lifetime of an upload URL; a client requests another one after that."""

NameParam = Annotated[str, Meta(min_length=1, max_length=128, description="ImageName: name of the image, for people")]
OsTypeParam = Annotated[str, Meta(min_length=1, max_length=64, description="operating system family: CentOS, Ubuntu, ...")]
OsNameParam = Annotated[str, Meta(min_length=1, max_length=128, description="OsName: the operating system, for people")]
VersionParam = Annotated[str, Meta(max_length=64, description="version, free text")]
FamilyParam = Annotated[
    str, Meta(pattern=r"^([a-z0-9][a-z0-9.-]{0,62})?$", description="name that all versions of an image share")
]
DescriptionParam = Annotated[
    str, Meta(max_length=1024, description="ImageDescription: description, free text", extra=with_controls("lines"))
]


class ImageTexts(Struct, rename="pascal", frozen=True, kw_only=True):
    """The texts of an image that can be changed. Absent ones stay as they are."""

    name: NameParam | None = None
    os_type: OsTypeParam | None = None
    os_name: OsNameParam | None = None
    version: VersionParam | None = None
    family: FamilyParam | None = None
    description: DescriptionParam | None = None


class PublishPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """Publish an image from a URL or an upload. Its state is Making until its bytes are stored and verified.

    Without Url, the response has a URL for the upload of the original file. Token makes the request idempotent: a repeated
    request with the same Token returns the image of the first one, unless that failed or was withdrawn.

    Tenants publish Custom images of their own projects, in the zones of their account, from URLs on the public internet. Base
    images, images of other accounts and overrides of findings are for operators.
    """

    name: NameParam
    os_type: OsTypeParam
    os_name: OsNameParam
    zone: Annotated[tuple[ZoneId, ...], Meta(description="zones where the image is available")]
    support: SupportParam
    version: VersionParam = ""
    family: FamilyParam = ""
    description: DescriptionParam = ""
    label: LabelsParam = ()
    image_type: Annotated[ImageType, Meta(description="Base for all projects, or Custom for one project")]
    project_id: (
        Annotated[
            ProjectId,
            Meta(
                description="project of a Custom image: for operators any project, and required; for tenants as in other "
                "Actions, by default the main user's default project"
            ),
        ]
        | None
    ) = None
    size: Annotated[int, Meta(ge=0, description="size of the original file in bytes; 0 if unknown")] = 0
    file_name: Annotated[str, Meta(max_length=255, description="name of the original file, as in a checksum file")] = ""
    url: Annotated[str, Meta(max_length=8192, description="http(s) URL of the original file; absent for an upload")] = ""
    digest: DigestParam = ""
    checksum_url: Annotated[
        str, Meta(max_length=8192, description="http(s) URL of a checksum file with the digest of the original file")
    ] = ""
    trust_first_use: Annotated[bool, Meta(description="publish without a digest, and record that of the bytes")] = False
    format: Annotated[str, Meta(max_length=16, description="format of the original file; absent to detect it")] = ""
    override: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...],
        Meta(description="ids of findings to override for this image; the log of revisions records them"),
    ] = ()
    token: Annotated[str, Meta(max_length=128, description="makes the request idempotent: any text that identifies it")] = ""


class PublishPHostImageResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The image and the job that publishes it."""

    image_id: Annotated[str, Meta(description="id of the new image")]
    project_id: Annotated[str, Meta(description="the only project that sees the image; empty for a Base image")]
    job_id: Annotated[str, Meta(description="id of the job")]
    state: Annotated[str, Meta(description="state of the job: Waiting (for an upload), Queued, Running or Done")]
    upload_url: Annotated[str, Meta(description="URL for parts (PUT .../0, ...) or chunks; empty unless Waiting")]


def publish_phost_image(request: PublishPHostImage, call: Call) -> PublishPHostImageResponse:
    tenant = tenant_of_call(call)
    project = _tenants_project(request, call) if tenant else _operators_project(request)
    _check_origin(request)
    free = call.service.store.free_bytes()  # before the change, which no slow disk may hold up
    support = support_of(request.support, request.zone, call.view.topology())
    labels = with_labels({}, request.label)
    if tenant:
        check_zone_allowed(request.zone, call.caller.tenant)
    with call.service.change(call) as change:
        earlier = _earlier_job(change, request.token, project, tenant)
        if earlier is not None:
            return _response(earlier, known_since(change.connection, earlier.image), call)
        check_room(call.service, request.size, free, tenant)  # the parts of an earlier upload may have filled the store
        if project and PROJECTS.find(change.connection, project) is None:
            raise UnavailableParam("ProjectId", detail=f"there is no project {project}")
        check_quota(change, project, request.size, tenant)
        image = ImageId(new_image_id(call.service.random))
        if once_given(change.connection, [image]):
            raise ServiceUnavailable(detail="the random id is already in use; try again")
        IMAGES.add_all(change, [_image(image, request, project, support, labels, int(call.time))])
        job = _job(image, request, project, tenant, call)
        expect_image_bytes(change, job)
    return _response(job, change.number, call)


def _response(job: Job, revision: Revision, call: Call) -> PublishPHostImageResponse:
    state = job.state if job.unfinished or call.service.is_everywhere(revision) else JobState.RUNNING
    waits = job.state is JobState.WAITING
    url = call.service.upload_url(job.id, call, int(call.time) + UPLOAD_SECONDS) if waits else ""
    return PublishPHostImageResponse(
        image_id=job.image, project_id=job.project, job_id=job.id, state=state.value, upload_url=url
    )


# docs/decisions.md#what-tenants-may-not-publish
def _tenants_project(request: PublishPHostImage, call: Call) -> ProjectId:
    """The project of a tenant's image. Raises NotPermitted for what operators alone publish, UnavailableParam for a URL."""
    if request.image_type is not ImageType.CUSTOM:
        raise NotPermitted(detail="ImageType Base needs a key of an operator account: publish a Custom image of a project")
    if request.override:
        raise NotPermitted(detail="Override needs a key of an operator account: correct the file, or ask your operator")
    for name, text in (("Url", request.url), ("ChecksumUrl", request.checksum_url)):
        try:
            if text:
                PUBLIC_INTERNET.check_url(read_url(text))
        except UrlRefused as error:
            raise UnavailableParam(name, detail=str(error)) from None
    return call.project


def _operators_project(request: PublishPHostImage) -> ProjectId:
    if request.image_type is ImageType.CUSTOM and not request.project_id:
        raise MissingParam("ProjectId", detail="a Custom image needs a project")
    if request.image_type is ImageType.BASE and request.project_id:
        raise UnavailableParam("ProjectId", detail="a Base image belongs to no project: leave ProjectId out")
    return request.project_id or NO_PROJECT


def _check_origin(request: PublishPHostImage) -> None:
    """Raises RequestError for an invalid URL, digest, format or override, and unless there is one way to verify the bytes."""
    digest_param("Digest", request.digest)
    for name, url in (("Url", request.url), ("ChecksumUrl", request.checksum_url)):
        try:
            if url:
                read_url(url)
        except SourceError as error:
            raise UnavailableParam(name, detail=str(error)) from None
    # docs/decisions.md#nothing-is-published-without-a-digest-by-accident
    known = sum(map(bool, (request.digest, request.checksum_url, request.trust_first_use)))
    if known != 1:
        remedy = "give one of Digest, ChecksumUrl, or TrustFirstUse to record the digest of the bytes"
        raise (UnavailableParam if known else MissingParam)("Digest", detail=remedy)
    if request.format and request.format.lower() not in STATED_NAMES:
        raise UnavailableParam("Format", detail=f"expected one of {', '.join(sorted(STATED_NAMES))}")
    for id in request.override:
        kind = KINDS.get(id)
        if kind is None or not kind.override:
            allowed = ", ".join(sorted(kind.id for kind in KINDS.values() if kind.override))
            raise UnavailableParam("Override", detail=f"{id} cannot be overridden; these can: {allowed}")


def _earlier_job(change: Change, token: str, project: ProjectId, tenant: AccountId) -> Job | None:
    """The job of the caller's earlier request with the same token, unless it failed or its image was withdrawn."""
    job = jobs.find_token(change.connection, token, project, tenant) if token else None
    if job is None or job.state is JobState.FAILED or IMAGES.find(change.connection, job.image) is None:
        return None
    return job


def _image(
    id: ImageId,
    request: PublishPHostImage,
    project: ProjectId,
    support: dict[MachineTypeId, tuple[ClusterId, ...]],
    labels: dict[str, str],
    created: int,
) -> Image:
    return Image(
        **shared_values(request, Image)
        | {
            "id": id,
            "type": request.image_type,
            "project": project,
            "state": State.MAKING,
            "deprecated": False,
            "size": 0,  # the publication sets it
            "created": created,
            "zones": tuple(sorted(set(request.zone))),
            "support": support,
            "labels": labels,
        }
    )


def _job(image: ImageId, request: PublishPHostImage, project: ProjectId, tenant: AccountId, call: Call) -> Job:
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
            tenant=tenant,
        ),
        created=call.time,
        project=project,
        actor=call.caller.actor,
        token=request.token,
        reserved=request.size,
    )


ACTIONS = (
    Action(
        PublishPHostImage,
        PublishPHostImageResponse,
        publish_phost_image,
        Right.CHANGE,
        project=True,
        any_project=True,
        changes=True,
    ),
)
