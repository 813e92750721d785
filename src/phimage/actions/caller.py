"""The caller's projects and user (wire-protocol 6.3 and 6.4)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.service import Call
from phimage.gateway.registry import Action
from phimage.model.account import Right


class GetProjectList(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the projects that the caller can see, the default project first."""

    is_finance: Annotated[str, Meta(max_length=8, description="Yes or No; ignored")] = "No"


class ProjectRow(Struct, rename="pascal", frozen=True, kw_only=True):
    """A project."""

    project_id: Annotated[str, Meta(description="project id, such as org-4k2xqz7a")]
    project_name: Annotated[str, Meta(description="name of the project, for people")]
    create_time: Annotated[int, Meta(description="creation time, Unix seconds")]
    is_default: Annotated[bool, Meta(description="whether it is the default project, which main users need not name")]
    resource_count: Annotated[int, Meta(description="number of custom images of the project")]
    member_count: Annotated[int, Meta(description="number of users who can see the project")]
    parent_id: Annotated[str, Meta(description="obsolete, always empty")] = ""
    parent_name: Annotated[str, Meta(description="obsolete, always empty")] = ""


class GetProjectListResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The projects that the caller can see."""

    project_count: Annotated[int, Meta(description="number of projects")]
    project_set: Annotated[tuple[ProjectRow, ...], Meta(description="the projects")]


class GetUserInfo(Struct, rename="pascal", frozen=True, kw_only=True):
    """Show the user of the key that signs the request."""


class UserInfo(Struct, rename="pascal", frozen=True, kw_only=True):
    """The caller. Clients require every field; phimage leaves those that it does not store empty."""

    admin: Annotated[int, Meta(description="1 for the main user, else 0")]
    administrator: Annotated[str, Meta(description="email address of the main user")]
    auth_state: Annotated[str, Meta(description="always CERTIFIED, as an operator creates every account")] = "CERTIFIED"
    city: Annotated[str, Meta(description="not stored, always empty")] = ""
    company_name: Annotated[str, Meta(description="company of the account, or the name of the account")]
    finance: Annotated[int, Meta(description="not stored, always 0")] = 0
    industry_type: Annotated[int, Meta(description="not stored, always 0")] = 0
    phone_prefix: Annotated[str, Meta(description="not stored, always empty")] = ""
    province: Annotated[str, Meta(description="not stored, always empty")] = ""
    user_address: Annotated[str, Meta(description="not stored, always empty")] = ""
    user_email: Annotated[str, Meta(description="email address of the user, or of the main user")]
    user_id: Annotated[int, Meta(description="number of the user")]
    user_name: Annotated[str, Meta(description="name of the user")]
    user_phone: Annotated[str, Meta(description="not stored, always empty")] = ""
    user_type: Annotated[int, Meta(description="1 for a company")] = 1
    user_version: Annotated[int, Meta(description="not stored, always 0")] = 0


class GetUserInfoResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """One row: the caller."""

    data_set: Annotated[tuple[UserInfo, ...], Meta(description="the caller, as the only element")]


def get_project_list(request: GetProjectList, call: Call) -> GetProjectListResponse:
    tenant = call.caller.tenant
    projects = tuple(
        ProjectRow(
            project_id=project.id,
            project_name=project.name,
            create_time=project.created,
            is_default=project.default,
            resource_count=len(call.view.images_of(project.id)),
            member_count=tenant.members(project.id),
        )
        for project in tenant.projects.values()
        if tenant.right(call.caller.user, project.id) >= Right.READ
    )
    return GetProjectListResponse(project_count=len(projects), project_set=projects)


def get_user_info(request: GetUserInfo, call: Call) -> GetUserInfoResponse:
    account, user = call.caller.account, call.caller.user
    row = UserInfo(
        admin=int(user.main),
        administrator=account.email,
        company_name=account.company or account.id,
        user_email=user.email or account.email,
        user_id=user.id,
        user_name=user.name,
    )
    return GetUserInfoResponse(data_set=(row,))


ACTIONS = (
    Action(GetProjectList, GetProjectListResponse, get_project_list, Right.KEY),
    Action(GetUserInfo, GetUserInfoResponse, get_user_info, Right.KEY),
)
