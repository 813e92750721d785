"""Orders as agents get them, with tickets for this image, host and fence, and how an order ends."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from phimage.actions.service import Call
from phimage.catalog import jobs
from phimage.catalog.hosts import HOSTS
from phimage.catalog.image_bytes import give_up, image_bytes_with
from phimage.catalog.orders import end_order, find_order
from phimage.catalog.revisions import Change
from phimage.chunks import uploaded_chunks
from phimage.chunks.errors import BadUpload, StoreFailure
from phimage.errors import OrderLost, ServiceUnavailable, UnavailableParam
from phimage.model.host import Host, captured, cleaned, deployed, failed
from phimage.model.ids import OrderId
from phimage.model.image_bytes import ImageBytes
from phimage.model.order import LEASE_SECONDS, Order, OrderKind, OrderState

TICKET_SECONDS = 3600
"""Lifetime of the URLs in an order; an agent asks for its order again after that."""


class AgentOrder(Struct, rename="pascal", frozen=True, kw_only=True):
    """What an agent is to do with the disk. URLs carry tickets and need no signature."""

    order_id: Annotated[str, Meta(description="id of the order")]
    kind: Annotated[str, Meta(description="deploy, capture or clean")]
    fence: Annotated[int, Meta(description="goes into every report of this order")]
    lease_seconds: Annotated[int, Meta(description="an agent without an answer for so long stops writing")]
    disk: Annotated[str, Meta(description="hint that names the disk")]
    image_id: Annotated[str, Meta(description="image to deploy or to make; empty for clean")]
    manifest_digest: Annotated[str, Meta(description="deploy: SHA-256 of the manifest's bytes; else empty")]
    manifest_url: Annotated[str, Meta(description="deploy: the manifest; else empty")]
    raw_zstd_url: Annotated[str, Meta(description="deploy: the raw disk as a zstd file; else empty")]
    frames_url: Annotated[str, Meta(description="deploy: the list of its frames; else empty")]
    sector_size: Annotated[int, Meta(description="deploy: sector size of the image, 512 or 4096; 0 if unknown")]
    disk_size: Annotated[int, Meta(description="deploy: bytes of the image; else 0")]
    seed: Annotated[str, Meta(description="a NoCloud seed as JSON; empty for none")]
    job_id: Annotated[str, Meta(description="capture: the job; else empty")]
    upload_url: Annotated[str, Meta(description="capture: URL that takes chunks; else empty")]
    trim: Annotated[bool, Meta(description="capture: whether the image ends after the last partition")]


class Evidence(Struct, frozen=True):
    """What proves that an order is done: the receipt of a deployment, or the bytes of a sealed disk."""

    receipt: str
    rebooting: bool
    sealed: int | None


class _Receipt(Struct, rename="pascal", frozen=True, kw_only=True):
    """What the server reads of a receipt."""

    order_id: str
    image_id: str
    manifest_digest: str


def order_of_agent(order: Order, host: Host, call: Call) -> AgentOrder:
    """An order as its agent gets it."""
    expires = int(call.time) + TICKET_SECONDS
    is_deployment = order.kind is OrderKind.DEPLOY
    content = _content(order, call) if is_deployment else None

    def download(form: str) -> str:
        return call.service.order_download_url(order, form, call, expires) if is_deployment else ""

    return AgentOrder(
        order_id=order.id,
        kind=order.kind.value,
        fence=order.fence,
        lease_seconds=LEASE_SECONDS,
        disk=host.hint,
        image_id=order.image,
        manifest_digest=order.manifest,
        manifest_url=download("/manifest"),
        raw_zstd_url=download(".raw.zst"),
        frames_url=download("/frames"),
        sector_size=content.facts.sector_size if content else 0,
        disk_size=content.size if content else 0,
        seed="",
        job_id=order.job,
        upload_url=call.service.order_upload_url(order, call, expires) if order.job else "",
        trim=order.trim,
    )


def end_failed(change: Change, host: Host, order: Order, reason: str) -> None:
    """End an order for the reason that its agent reported. Raises OrderLost."""
    _end(change, order, OrderState.FAILED, error=reason)
    if order.kind is OrderKind.CAPTURE:
        jobs.end(change.connection, order.job, reason)
        give_up(change, order.image, reason, ())
    HOSTS.put(change, failed(host, order.kind, reason))


def sealed_size(id: OrderId, call: Call) -> int | None:
    """The bytes of the disk that was sealed for an order to capture; None if none was. Raises ServiceUnavailable.

    It reads the store, which may take long: call it before the change that locks out other writers.
    """
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        order = find_order(connection, id)
    if order is None or not order.job:
        return None
    try:
        sealed = uploaded_chunks.find_seal(call.service.store, order.job)
    except (BadUpload, StoreFailure) as error:
        raise ServiceUnavailable(detail=str(error)) from error
    return None if sealed is None else sealed.size


def end_finished(change: Change, host: Host, order: Order, evidence: Evidence) -> None:
    """End an order that its agent has done. Raises UnavailableParam without the evidence for it, and OrderLost."""
    match order.kind:
        case OrderKind.DEPLOY:
            _check_receipt(evidence.receipt, order)
            now = int(change.author.time)
            after = deployed(host, order.image, order.manifest, now, rebooting=evidence.rebooting)
        case OrderKind.CAPTURE:
            _queue_capture(change, order, evidence.sealed)
            after = captured(host)
        case OrderKind.CLEAN:
            after = cleaned(host)
    _end(change, order, OrderState.DONE, receipt=evidence.receipt)
    HOSTS.put(change, after)


def _end(change: Change, order: Order, state: OrderState, *, error: str = "", receipt: str = "") -> None:
    if not end_order(change.connection, order, state, change.author.time, error=error, receipt=receipt):
        raise OrderLost(order.id, detail="it ended, or was given out again: ask for an order")


def _check_receipt(text: str, order: Order) -> None:
    try:
        receipt = msgspec.json.decode(text, type=_Receipt)
    except (msgspec.DecodeError, RecursionError) as error:
        detail = f"a finished deployment has a receipt, as JSON with OrderId, ImageId and ManifestDigest: {error}"
        raise UnavailableParam("Receipt", detail=detail) from None
    if (receipt.order_id, receipt.image_id, receipt.manifest_digest) != (order.id, order.image, order.manifest):
        raise UnavailableParam("Receipt", detail=f"it is for another order or image than {order.id}")


def _queue_capture(change: Change, order: Order, sealed: int | None) -> None:
    """Queue the publication of a sealed capture. Raises UnavailableParam unless the disk is sealed, and OrderLost."""
    if sealed is None:
        raise UnavailableParam("Finished", detail="the disk is not sealed: send the list of its chunks to the upload URL first")
    job = jobs.find(change.connection, order.job)
    if job is None or not jobs.queue(change.connection, job.id, replace(job.origin, size=sealed)):
        raise OrderLost(order.id, detail="its publication has ended: ask for an order")


def _content(order: Order, call: Call) -> ImageBytes | None:
    """The bytes to deploy, also of an image that was withdrawn or got others meanwhile."""
    with call.service.catalog.database.read() as connection:
        return image_bytes_with(connection, order.image, order.manifest)
