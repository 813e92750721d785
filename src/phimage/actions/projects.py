"""Projects of accounts and their members, for the operator."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import AccountParam, Empty, UserParam, tenant_of, user_of
from phimage.actions.service import Call
from phimage.catalog import accounts
from phimage.catalog.hosts import hosts_of
from phimage.catalog.image_bytes import QUOTAS, find_quota
from phimage.catalog.images import images_at
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Membership, Right, Role
from phimage.model.ids import ProjectId

ProjectParam = Annotated[ProjectId, Meta(max_length=64, description="project id, such as org-4k2xqz7a")]


class CreateProject(Struct, rename="pascal", frozen=True, kw_only=True):
    """Add a project to an account."""

    account: AccountParam
    project_name: Annotated[str, Meta(min_length=1, max_length=128, description="name of the project, for people")]


class ListProjects(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the projects of an account and their members."""

    account: AccountParam


class SetProjectMember(Struct, rename="pascal", frozen=True, kw_only=True):
    """Add a sub-user to a project, or change its role there."""

    account: AccountParam
    project_id: ProjectParam
    user: UserParam
    role: Annotated[Role, Meta(description="viewer: may list and download images; editor: may also change custom images")]


class RemoveProjectMember(Struct, rename="pascal", frozen=True, kw_only=True):
    """Remove a sub-user from a project."""

    account: AccountParam
    project_id: ProjectParam
    user: UserParam


class RemoveProject(Struct, rename="pascal", frozen=True, kw_only=True):
    """Remove a project that has no custom images and no hosts, with its quota. The default project cannot be removed."""

    account: AccountParam
    project_id: ProjectParam


class ProjectInfo(Struct, rename="pascal", frozen=True, kw_only=True):
    """A project and its members."""

    project_id: Annotated[str, Meta(description="project id")]
    project_name: Annotated[str, Meta(description="name of the project, for people")]
    is_default: Annotated[bool, Meta(description="whether it is the default project, which main users need not name")]
    members: Annotated[dict[str, str], Meta(description="role by name of the user")]


class CreateProjectResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A new project."""

    project_id: Annotated[str, Meta(description="id of the project")]


class ListProjectsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The projects of an account, the default one first."""

    project_set: Annotated[tuple[ProjectInfo, ...], Meta(description="the projects")]


def create_project(request: CreateProject, call: Call) -> CreateProjectResponse:
    with call.service.change(call) as change:
        tenant_of(change.connection, request.account)
        project = accounts.add_project(change, request.account, request.project_name, call.service.random)
    return CreateProjectResponse(project_id=project.id)


def list_projects(request: ListProjects, call: Call) -> ListProjectsResponse:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        tenant = tenant_of(connection, request.account)
    return ListProjectsResponse(
        project_set=tuple(
            ProjectInfo(
                project_id=project.id,
                project_name=project.name,
                is_default=project.default,
                members={tenant.users[user].name: role.value for (of, user), role in tenant.roles.items() if of == project.id},
            )
            for project in tenant.projects.values()
        )
    )


def set_project_member(request: SetProjectMember, call: Call) -> Empty:
    with call.service.change(call) as change:
        tenant = tenant_of(change.connection, request.account)
        user = user_of(tenant, request.user)
        if user.main:
            raise UnavailableParam("User", detail="the main user may do everything in every project and has no role")
        if request.project_id not in tenant.projects:
            raise UnavailableParam("ProjectId", detail=f"account {request.account} has no such project")
        accounts.MEMBERSHIPS.put(change, Membership(request.project_id, user.id, request.account, request.role))
    return Empty()


def remove_project_member(request: RemoveProjectMember, call: Call) -> Empty:
    with call.service.change(call) as change:
        tenant = tenant_of(change.connection, request.account)
        user = user_of(tenant, request.user)
        membership = accounts.MEMBERSHIPS.find(change.connection, request.project_id, user.id)
        if membership is None or membership.account != request.account:
            raise UnavailableParam("User", detail=f"{request.user} is not a member of {request.project_id}")
        accounts.MEMBERSHIPS.withdraw(change, membership)
    return Empty()


def remove_project(request: RemoveProject, call: Call) -> Empty:
    with call.service.change(call) as change:
        project = tenant_of(change.connection, request.account).projects.get(request.project_id)
        if project is None:
            raise UnavailableParam("ProjectId", detail=f"account {request.account} has no such project")
        if project.default:
            raise UnavailableParam("ProjectId", detail="the default project of an account cannot be removed")
        images = len(images_at(change.connection, change.parent, project.id))
        if images:
            raise UnavailableParam("ProjectId", detail=f"the project has {images} custom images: terminate them first")
        hosts = len(hosts_of(change.connection, change.parent, project.id))
        if hosts:
            raise UnavailableParam("ProjectId", detail=f"the project has {hosts} hosts: release them first")
        quota = find_quota(change.connection, project.id)
        if quota is not None:
            QUOTAS.withdraw(change, quota)
        accounts.remove_project(change, project)
    return Empty()


ACTIONS = (
    Action(RemoveProject, Empty, remove_project, Right.OPERATE, changes=True),
    Action(CreateProject, CreateProjectResponse, create_project, Right.OPERATE, changes=True),
    Action(ListProjects, ListProjectsResponse, list_projects, Right.OPERATE),
    Action(SetProjectMember, Empty, set_project_member, Right.OPERATE, changes=True),
    Action(RemoveProjectMember, Empty, remove_project_member, Right.OPERATE, changes=True),
)
