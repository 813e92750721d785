"""Quotas on the bytes of a project's images, for the operator."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import Empty
from phimage.actions.service import Call
from phimage.catalog.accounts import PROJECTS
from phimage.catalog.image_bytes import QUOTAS, find_quota, use_of
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import ProjectId
from phimage.model.image import NO_PROJECT
from phimage.model.image_bytes import Quota

BASE = "Base"
"""The value of Project for the base images, which belong to no project."""

QuotaProjectParam = Annotated[str, Meta(max_length=64, description="id of the project, or Base for the base images")]


class SetQuota(Struct, rename="pascal", frozen=True, kw_only=True):
    """Set or remove the quota of a project. Published images stay, even above the quota."""

    project: QuotaProjectParam
    # docs/decisions.md#no-parameter-is-more-powerful-when-it-is-absent
    limit: Annotated[int, Meta(ge=-1, le=1 << 60, description="max bytes of raw disks; -1 removes the quota")]


class ListQuotas(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the quotas and their use."""


class QuotaSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A quota. All numbers are bytes of raw disks."""

    project: Annotated[str, Meta(description="id of the project, or Base")]
    limit: Annotated[int, Meta(description="max bytes")]
    published: Annotated[int, Meta(description="bytes of published images")]
    reserved: Annotated[int, Meta(description="bytes reserved for images that are being published")]


class ListQuotasResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """All quotas, by project."""

    quota_set: Annotated[tuple[QuotaSet, ...], Meta(description="the quotas")]


def set_quota(request: SetQuota, call: Call) -> Empty:
    project = NO_PROJECT if request.project == BASE else ProjectId(request.project)
    with call.service.change(call) as change:
        if project and PROJECTS.find(change.connection, project) is None:
            raise UnavailableParam("Project", detail=f"there is no project {project}")
        before = find_quota(change.connection, project)
        if request.limit >= 0:
            QUOTAS.put(change, Quota(project, request.limit))
        elif before is not None:
            QUOTAS.withdraw(change, before)
    return Empty()


def list_quotas(request: ListQuotas, call: Call) -> ListQuotasResponse:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        quotas = sorted(QUOTAS.live(connection), key=lambda quota: quota.project)
        uses = [use_of(connection, quota.project) for quota in quotas]
    return ListQuotasResponse(
        quota_set=tuple(
            QuotaSet(project=quota.project or BASE, limit=quota.max_bytes, published=use.published, reserved=use.reserved)
            for quota, use in zip(quotas, uses, strict=True)
        )
    )


ACTIONS = (
    Action(SetQuota, Empty, set_quota, Right.OPERATE, changes=True),
    Action(ListQuotas, ListQuotasResponse, list_quotas, Right.OPERATE),
)
