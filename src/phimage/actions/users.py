"""Users of accounts, for the operator."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import AccountParam, Empty, Line, UserParam, tenant_of, user_of
from phimage.actions.service import Call
from phimage.catalog import accounts
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right, Tenant, User


class CreateUser(Struct, rename="pascal", frozen=True, kw_only=True):
    """Add a sub-user to an account. To use it, make it a member of a project and create an access key."""

    account: AccountParam
    user: UserParam
    email: Annotated[Line, Meta(description="email address of the user")] = ""


class ListUsers(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the users of an account and their roles."""

    account: AccountParam


class RemoveUser(Struct, rename="pascal", frozen=True, kw_only=True):
    """Remove a sub-user with its keys and roles. The keys stop working at once."""

    account: AccountParam
    user: UserParam


class UserSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A user."""

    user_id: Annotated[int, Meta(description="number of the user")]
    user: Annotated[str, Meta(description="name of the user")]
    email: Annotated[str, Meta(description="email address of the user")]
    main: Annotated[bool, Meta(description="whether it is the main user of the account")]
    roles: Annotated[dict[str, str], Meta(description="role by project id; empty for the main user, who needs none")]


class CreateUserResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A new user."""

    user_id: Annotated[int, Meta(description="number of the user")]


class ListUsersResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The users of an account."""

    user_set: Annotated[tuple[UserSet, ...], Meta(description="the users, the main user first")]


def create_user(request: CreateUser, call: Call) -> CreateUserResponse:
    with call.service.change(call) as change:
        tenant = tenant_of(change.connection, request.account)
        if any(user.name == request.user for user in tenant.users.values()):
            raise UnavailableParam("User", detail=f"account {request.account} already has a user {request.user}")
        return CreateUserResponse(user_id=accounts.add_user(change, request.account, request.user, request.email).id)


def list_users(request: ListUsers, call: Call) -> ListUsersResponse:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        tenant = tenant_of(connection, request.account)
    return ListUsersResponse(user_set=tuple(_user_set(user, tenant) for user in tenant.users.values()))


def remove_user(request: RemoveUser, call: Call) -> Empty:
    with call.service.change(call) as change:
        user = user_of(tenant_of(change.connection, request.account), request.user)
        if user.main:
            raise UnavailableParam("User", detail="the main user of an account cannot be removed; revoke its keys instead")
        accounts.remove_user(change, user)
    return Empty()


def _user_set(user: User, tenant: Tenant) -> UserSet:
    roles = {str(project): role.value for (project, member), role in tenant.roles.items() if member == user.id}
    return UserSet(user_id=user.id, user=user.name, email=user.email, main=user.main, roles=roles)


ACTIONS = (
    Action(RemoveUser, Empty, remove_user, Right.OPERATE, changes=True),
    Action(CreateUser, CreateUserResponse, create_user, Right.OPERATE, changes=True),
    Action(ListUsers, ListUsersResponse, list_users, Right.OPERATE),
)
