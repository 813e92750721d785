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
    """Add a sub-user to an account. It sees nothing until it is a member of a project and has a key."""

    account: AccountParam
    user: UserParam
    email: Annotated[Line, Meta(description="address of the user")] = ""


class ListUsers(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the users of an account with their roles."""

    account: AccountParam


class RemoveUser(Struct, rename="pascal", frozen=True, kw_only=True):
    """Take a sub-user out of an account, with its keys and roles, at once."""

    account: AccountParam
    user: UserParam


class UserSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A user."""

    user_id: Annotated[int, Meta(description="number of the user")]
    user: Annotated[str, Meta(description="name of the user")]
    email: Annotated[str, Meta(description="address of the user")]
    main: Annotated[bool, Meta(description="whether it is the main user")]
    roles: Annotated[dict[str, str], Meta(description="role by project; the main user needs none")]


class CreateUserResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A new user."""

    user_id: Annotated[int, Meta(description="number of the user")]


class ListUsersResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The users of an account."""

    user_set: Annotated[tuple[UserSet, ...], Meta(description="the users, the main user first")]


def create_user(request: CreateUser, call: Call) -> CreateUserResponse:
    with call.service.change(call) as change:
        family = tenant_of(change.connection, request.account)
        if any(user.name == request.user for user in family.users.values()):
            raise UnavailableParam("User", detail=f"account {request.account} has a user {request.user} already")
        return CreateUserResponse(user_id=accounts.add_user(change, request.account, request.user, request.email).id)


def list_users(request: ListUsers, call: Call) -> ListUsersResponse:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        family = tenant_of(connection, request.account)
    return ListUsersResponse(user_set=tuple(_user_set(user, family) for user in family.users.values()))


def remove_user(request: RemoveUser, call: Call) -> Empty:
    with call.service.change(call) as change:
        user = user_of(tenant_of(change.connection, request.account), request.user)
        if user.main:
            raise UnavailableParam("User", detail="an account cannot be without its main user; its keys can be revoked")
        accounts.remove_user(change, user)
    return Empty()


def _user_set(user: User, family: Tenant) -> UserSet:
    roles = {str(project): role.value for (project, member), role in family.roles.items() if member == user.id}
    return UserSet(user_id=user.id, user=user.name, email=user.email, main=user.main, roles=roles)


ACTIONS = (
    Action(RemoveUser, Empty, remove_user, Right.OPERATE, changes=True),
    Action(CreateUser, CreateUserResponse, create_user, Right.OPERATE, changes=True),
    Action(ListUsers, ListUsersResponse, list_users, Right.OPERATE),
)
