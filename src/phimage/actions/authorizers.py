"""Who may download an image's bytes and who may upload some: the authorizers for delivery and uploads.

A ticket, which an Action issued, or a signature admits a request. A ticket is valid as long as the key that requested it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from phimage.actions.images import find_visible_image
from phimage.actions.service import Service, ticket_holder
from phimage.catalog import jobs
from phimage.catalog.hosts import HOSTS
from phimage.catalog.image_bytes import image_bytes_with, left_of
from phimage.catalog.orders import find_order
from phimage.catalog.views import View
from phimage.chunks.uploads import MAX_PARTS, PART
from phimage.delivery.authorizer import DownloadAccessRequest, DownloadGrant, NotPublished, Purged
from phimage.delivery.ticket import Ticket, read_ticket
from phimage.errors import NotPermitted, OrderLost, UnavailableParam, ZoneRefused
from phimage.gateway.access import authenticate, authorize, check_each_time, find_caller
from phimage.gateway.params import read_params
from phimage.gateway.registry import Action
from phimage.gateway.signature import SIGNATURE
from phimage.model.account import Right, Tenant
from phimage.model.explain import no_bytes
from phimage.model.ids import HOST_KEY, AccountId, ImageId, JobId, ManifestDigest, OrderId, ProjectId
from phimage.model.image import NO_PROJECT, State
from phimage.model.job import JobState
from phimage.model.order import Order
from phimage.uploads.authorizer import Upload, UploadAccessRequest, UploadClosed


class DownloadPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """The parameters that a signed download signs, besides the caller's."""

    image_id: ImageId


_SIGNED = Action[View, Service](
    DownloadPHostImage, DownloadPHostImage, lambda request, call: request, Right.READ, project=True, any_project=True
)


class CatalogDownloadAuthorizer:
    """Admits downloads with a ticket, or with a signature over Action, ImageId, PublicKey and ProjectId."""

    def __init__(self, service: Service, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._now = now

    def authorize(self, request: DownloadAccessRequest) -> DownloadGrant:
        """See DownloadAuthorizer."""
        view = self._service.catalog.now(wait=request.wait)
        has_ticket = "Ticket=" in request.query
        if has_ticket:
            secret = self._service.ticket_secret()
            ticket = read_ticket(secret, "download", request.image, request.query, self._now())
            if ticket.public_key.startswith(HOST_KEY):
                return self._agents(ticket, view)
            tenant, project = _holder(ticket, view, request.address, self._now()), ticket.project
            permit = ticket.signed
        else:
            tenant, project, permit = self._signer(request, view)
        image = find_visible_image(request.image, view, project, tenant.account)
        if image is None:
            raise Purged(request.image) if has_ticket else _unknown_image()
        if image.zones and not any(map(tenant.account.may_use_zone, image.zones)):
            raise ZoneRefused(", ".join(image.zones), detail="the account is limited to other zones")
        image_bytes = view.image_bytes_of(image.project).get(image.id)
        if image_bytes is None or not image_bytes.stored:
            raise NotPublished(image.id, image.state.value, no_bytes(image.type, image.state))
        if image.state is not State.AVAILABLE and not tenant.account.operator:
            raise NotPublished(image.id, image.state.value)
        return DownloadGrant(image_bytes, tenant.account.id, project or tenant.account.id, permit)

    # docs/decisions.md#an-order-keeps-the-bytes-that-it-deploys
    def _agents(self, ticket: Ticket, view: View) -> DownloadGrant:
        """The download of an agent that deploys an image, also of one that was withdrawn or got other bytes meanwhile."""
        order = _order_of(ticket, view, self._service)
        with self._service.catalog.database.read() as connection:
            content = image_bytes_with(connection, order.image, order.manifest)
        if content is None:
            raise Purged(order.image)
        return DownloadGrant(content, order.account, order.project, ticket.signed)

    def _signer(self, request: DownloadAccessRequest, view: View) -> tuple[Tenant, ProjectId, str]:
        """The tenant, the project and the signature."""
        params = read_params("GET", "", request.query, b"")
        caller = authenticate(params, view)
        check_each_time(caller, request.address, self._now())
        for name, expected, status in (("Action", _SIGNED.name, 400), ("ImageId", request.image, 404)):
            if params.get(name) != expected:
                raise UnavailableParam(name, detail=f"a signed download signs {name}={expected}", http_status=status)
        return caller.tenant, authorize(_SIGNED, params, caller), str(params[SIGNATURE])


class CatalogUploadAuthorizer:
    """Admits requests with a ticket for an upload that awaits parts."""

    def __init__(self, service: Service, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._now = now

    def authorize(self, request: UploadAccessRequest) -> Upload:
        """See UploadAuthorizer."""
        view = self._service.catalog.now(wait=request.wait)
        ticket = read_ticket(self._service.ticket_secret(), "upload", request.job, request.query, self._now())
        if ticket.public_key.startswith(HOST_KEY):
            order = _order_of(ticket, view, self._service)
            return self._upload(request.job, order.account, order.project, order.project)
        account = _holder(ticket, view, request.address, self._now(), Right.CHANGE).account
        if not (account.operator or ticket.project):
            raise NotPermitted(detail="the account runs the cloud no longer; publish the image again")
        view.may_wait()
        anyones = account.operator
        return self._upload(request.job, account.id, None if anyones else ticket.project, ticket.project or account.id)

    def _upload(self, id: JobId, account: AccountId, project: ProjectId | None, holder: str) -> Upload:
        """The upload of a job that awaits parts; of a tenant's job in a project, or of any for None. Raises UploadClosed."""
        with self._service.catalog.database.read() as connection:
            job = jobs.find(connection, id)
            if job is not None and project is not None and (job.origin.tenant, job.project) != (account, project):
                job = None
            left = left_of(connection, job.project) if job is not None and job.origin.tenant else None
        if job is None or job.state is not JobState.WAITING:
            raise UploadClosed(f"the upload accepts no parts: its publication is {job.state.value if job else 'gone'}")
        max_bytes = job.origin.size or min(self._service.max_original, PART * MAX_PARTS)
        if left is not None:
            max_bytes = min(max_bytes, max(0, left + job.reserved))
        return Upload(id, max_bytes, holder, account, job.project)

    # docs/decisions.md#uploads-by-chunks
    def manifests(self, upload: Upload) -> Sequence[ManifestDigest]:
        """See UploadAuthorizer. Base images that are not Available are their operator's alone."""
        view = self._service.catalog.now(wait=True)
        tenant = view.tenant(upload.account)
        if tenant is None:
            return []
        images = [image for image in view.base_images() if image.state is State.AVAILABLE]
        contents = dict(view.image_bytes_of(NO_PROJECT))
        if upload.project != NO_PROJECT:
            images += view.images_of(upload.project)
            contents |= view.image_bytes_of(upload.project)
        may_read = [image.id for image in images if not image.zones or any(map(tenant.account.may_use_zone, image.zones))]
        known = [contents[id] for id in may_read if id in contents]
        newest_first = sorted((content for content in known if content.stored), key=lambda each: each.published, reverse=True)
        manifests = [content.manifest for content in newest_first]
        if (deployed := self._deployed(upload.job)) in manifests:  # a capture resembles the image that its host runs
            manifests.remove(deployed)
            manifests.insert(0, deployed)
        return manifests

    def _deployed(self, id: JobId) -> ManifestDigest:
        """The manifest of the image on the host that a job captures; empty for other jobs, and if nobody knows it."""
        with self._service.catalog.database.read() as connection:
            job = jobs.find(connection, id)
            host = HOSTS.find(connection, job.origin.host) if job is not None and job.origin.host else None
        return host.manifest if host is not None else ManifestDigest("")


def _order_of(ticket: Ticket, view: View, service: Service) -> Order:
    """The open order whose ticket an agent has: its key, its order and its fence are the newest ones.

    Raises UnknownUser for a revoked key, and OrderLost. Both mean that the agent must stop.
    """
    caller, _ = find_caller(ticket.public_key, view)
    view.may_wait()
    id, _, fence = ticket.project.partition("/")
    with service.catalog.database.read() as connection:
        order = find_order(connection, OrderId(id))
    if (
        order is None
        or order.host != caller.host
        or not order.is_open
        or ticket_holder(order.id, order.fence) != ticket.project
    ):
        raise OrderLost(id, detail=f"it ended, or was given out again with a fence after {fence}: ask for an order")
    return order


def _holder(ticket: Ticket, view: View, address: str, now: float, right: Right = Right.READ) -> Tenant:
    """The account whose key requested a ticket, and whose user still has a right in its project.

    Raises UnknownUser when the key was revoked or has expired, AddressRefused and NotPermitted.
    """
    caller, _ = find_caller(ticket.public_key, view)
    check_each_time(caller, address, now)
    tenant = caller.tenant
    if ticket.project and (ticket.project not in tenant.projects or tenant.right(caller.user, ticket.project) < right):
        what = "see the project" if right is Right.READ else "change images of the project"
        raise NotPermitted(detail=f"the user who requested this URL may no longer {what}; request another one")
    return tenant


def _unknown_image() -> UnavailableParam:
    return UnavailableParam("ImageId", detail="there is no such image, or this project cannot see it", http_status=404)
