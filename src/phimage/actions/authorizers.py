"""Who may have an image's bytes and who may send some: the doors of the applications for downloads and uploads.

A request is let in by a ticket, which an Action gave to somebody who might, or is signed like every other. A ticket counts as
long as the key that asked for it works.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

import phimage.delivery.authorizer as downloads
import phimage.uploads.authorizer as uploads
from phimage.actions.service import Service
from phimage.catalog import jobs
from phimage.catalog.views import View
from phimage.chunks.uploads import MAX_PARTS, PART
from phimage.delivery.errors import NotPublished, Purged
from phimage.delivery.ticket import Ticket, read_ticket
from phimage.errors import NotPermitted, UnavailableParam, UnknownUser
from phimage.gateway.access import authenticate, authorize, check_address
from phimage.gateway.params import read_params
from phimage.gateway.registry import Action
from phimage.model.account import Right, Tenant, User
from phimage.model.ids import ImageId, ProjectId
from phimage.model.image import NO_PROJECT, Image, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.job import JobState


class DownloadPHostImage(Struct, rename="pascal", frozen=True, kw_only=True):
    """What a signed download signs, besides who asks."""

    image_id: ImageId


_SIGNED = Action[View, Service](DownloadPHostImage, DownloadPHostImage, lambda request, call: request, Right.READ, project=True)


class CatalogDownloadAuthorizer:
    """Lets in who may download an image: with a ticket, or with a signature over Action, ImageId, PublicKey and ProjectId."""

    def __init__(self, service: Service, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._now = now

    def open(self, asked: downloads.DownloadAccessRequest) -> ImageBytes:
        """See `delivery.door.Door`."""
        view = self._service.catalog.now(wait=asked.wait)
        if "Ticket=" in asked.query:
            secret = self._service.ticket_secret()
            ticket = read_ticket(secret, "download", asked.image, asked.query, self._now())
            tenant, project = _holder(ticket, view)[0], ticket.project
        else:
            tenant, project = self._signed(asked, view)
        image = _find(view, asked.image, project)
        if image is None:
            raise Purged(asked.image) if "Ticket=" in asked.query else _absent()
        content = view.image_bytes_of(image.project).get(image.id)
        if content is None or not content.stored:
            raise NotPublished(image.id, image.state.value)
        if image.state is not State.AVAILABLE and not tenant.account.operator:
            raise NotPublished(image.id, image.state.value)
        return content

    def _signed(self, asked: downloads.DownloadAccessRequest, view: View) -> tuple[Tenant, ProjectId]:
        params = read_params("GET", "", asked.query, b"")
        caller = authenticate(params, view)
        check_address(caller, asked.address)
        for name, wanted in (("Action", _SIGNED.name), ("ImageId", asked.image)):
            if params.get(name) != wanted:
                raise UnavailableParam(name, detail=f"a signed download signs {name}={wanted}")
        return caller.tenant, authorize(_SIGNED, params, caller)


class CatalogUploadAuthorizer:
    """Lets in who has a ticket for an upload that waits for parts."""

    def __init__(self, service: Service, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._now = now

    def open(self, asked: uploads.UploadAccessRequest) -> uploads.Upload:
        """See `uploads.door.Door`."""
        view = self._service.catalog.now(wait=asked.wait)
        ticket = read_ticket(self._service.ticket_secret(), "upload", asked.job, asked.query, self._now())
        if not _holder(ticket, view)[0].account.operator:
            raise NotPermitted(detail="only the operator publishes")
        view.may_wait()
        with self._service.catalog.database.read() as connection:
            job = jobs.find(connection, asked.job)
        if job is None or job.state is not JobState.WAITING:
            raise uploads.Closed(f"the upload takes no parts: its publication is {job.state.value if job else 'gone'}")
        max_size = job.origin.size or min(self._service.max_original, PART * MAX_PARTS)
        return uploads.Upload(asked.job, max_size)


def _holder(ticket: Ticket, view: View) -> tuple[Tenant, User]:
    """Whose key asked for a ticket. Raises UnknownUser when it was revoked since."""
    found = view.key(ticket.public_key)
    tenant = view.tenant(found[0].account) if found else None
    user = tenant.users.get(found[0].user) if found and tenant else None
    if tenant is None or user is None:
        raise UnknownUser
    if ticket.project and (ticket.project not in tenant.projects or tenant.right(user, ticket.project) < Right.READ):
        raise NotPermitted(detail="who asked for this address may no longer see the project")
    return tenant, user


def _find(view: View, id: ImageId, project: ProjectId) -> Image | None:
    """An image that a project can see now."""
    images = (*view.base_images(), *(view.images_of(project) if project != NO_PROJECT else ()))
    return next((image for image in images if image.id == id), None)


def _absent() -> UnavailableParam:
    return UnavailableParam("ImageId", detail="there is no such image, or this project cannot see it")
