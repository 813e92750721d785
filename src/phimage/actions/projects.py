"""Projects of accounts and their members, for the operator."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import AccountParam, Empty, UserParam, tenant_of, user_of
from phimage.actions.service import Call
from phimage.catalog import accounts
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
    """List the projects of an account with their members."""

    account: AccountParam


class SetProjectMember(Struct, rename="pascal", frozen=True, kw_only=True):
    """Make a sub-user a member of a project, or change its role there."""

    account: AccountParam
    project_id: ProjectParam
    user: UserParam
    role: Annotated[Role, Meta(description="viewer lists, editor also changes custom images")]


class RemoveProjectMember(Struct, rename="pascal", frozen=True, kw_only=True):
    """Take a sub-user out of a project."""

    account: AccountParam
    project_id: ProjectParam
    user: UserParam


class RemoveProject(Struct, rename="pascal", frozen=True, kw_only=True):
    """Take a project out of an account. It must have no custom images, and must not be the default one."""

    account: AccountParam
    project_id: ProjectParam


class ProjectInfo(Struct, rename="pascal", frozen=True, kw_only=True):
    """A project as the operator sees it."""

    project_id: Annotated[str, Meta(description="project id")]
    project_name: Annotated[str, Meta(description="name of the project, for people")]
    is_default: Annotated[bool, Meta(description="whether a request of the main user without ProjectId means it")]
    members: Annotated[dict[str, str], Meta(description="role by user")]


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
        family = tenant_of(connection, request.account)
    return ListProjectsResponse(
        project_set=tuple(
            ProjectInfo(
                project_id=project.id,
                project_name=project.name,
                is_default=project.default,
                members={family.users[user].name: role.value for (of, user), role in family.roles.items() if of == project.id},
            )
            for project in family.projects.values()
        )
    )


def set_project_member(request: SetProjectMember, call: Call) -> Empty:
    with call.service.change(call) as change:
        family = tenant_of(change.connection, request.account)
        user = user_of(family, request.user)
        if user.main:
            raise UnavailableParam("User", detail="the main user sees all projects and needs no role")
        if request.project_id not in family.projects:
            raise UnavailableParam("ProjectId", detail=f"account {request.account} has no such project")
        accounts.MEMBERSHIPS.put(change, Membership(request.project_id, user.id, request.account, request.role))
    return Empty()


def remove_project_member(request: RemoveProjectMember, call: Call) -> Empty:
    with call.service.change(call) as change:
        family = tenant_of(change.connection, request.account)
        user = user_of(family, request.user)
        found = accounts.MEMBERSHIPS.find(change.connection, request.project_id, user.id)
        if found is None or found.account != request.account:
            raise UnavailableParam("User", detail=f"{request.user} is not a member of {request.project_id}")
        accounts.MEMBERSHIPS.withdraw(change, found)
    return Empty()


def remove_project(request: RemoveProject, call: Call) -> Empty:
    with call.service.change(call) as change:
        project = tenant_of(change.connection, request.account).projects.get(request.project_id)
        if project is None:
            raise UnavailableParam("ProjectId", detail=f"account {request.account} has no such project")
        if project.default:
            raise UnavailableParam("ProjectId", detail="an account cannot be without its default project")
        images = len(images_at(change.connection, change.parent, project.id))
        if images:
            raise UnavailableParam("ProjectId", detail=f"the project has {images} custom images")
        accounts.remove_project(change, project)
    return Empty()


ACTIONS = (
    Action(RemoveProject, Empty, remove_project, Right.OPERATE, changes=True),
    Action(CreateProject, CreateProjectResponse, create_project, Right.OPERATE, changes=True),
    Action(ListProjects, ListProjectsResponse, list_projects, Right.OPERATE),
    Action(SetProjectMember, Empty, set_project_member, Right.OPERATE, changes=True),
    Action(RemoveProjectMember, Empty, remove_project_member, Right.OPERATE, changes=True),
)
