"""What the operator's Actions share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from phimage.catalog.engine import Connection
from phimage.catalog.lookup import find_tenant
from phimage.catalog.views import View
from phimage.errors import UnavailableParam
from phimage.gateway.registry import SMALL_BODY, Action, Call
from phimage.model.account import Right, Tenant, User
from phimage.model.ids import AccountId

Line = Annotated[str, Meta(max_length=255)]
AccountParam = Annotated[
    AccountId, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="name of the account: letters, digits, . _ -")
]
UserParam = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$",
        description="name of the user in the account; the main user is called main",
    ),
]


def operator_action(
    request: type[Struct],
    response: type[Struct],
    answer: Callable[[Any, Call[View]], Struct],
    *,
    changes: bool,
    max_body: int = SMALL_BODY,
) -> Action[View]:
    """An Action that only keys of an operator account may call, named as its request type."""
    return Action(
        name=request.__name__,
        request=request,
        response=response,
        answer=answer,
        right=Right.OPERATE,
        changes=changes,
        max_body=max_body,
    )


def rfc3339(microseconds: int) -> str:
    """A time of the log as clients read it, in UTC."""
    time = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def tenant_of(connection: Connection, account: AccountId) -> Tenant:
    """An account with what belongs to it. Raises UnavailableParam when there is none."""
    found = find_tenant(connection, account)
    if found is None:
        raise UnavailableParam("Account", detail=f"there is no account {account}")
    return found


def user_of(family: Tenant, name: str) -> User:
    """A user by name. Raises UnavailableParam when there is none."""
    for user in family.users.values():
        if user.name == name:
            return user
    raise UnavailableParam("User", detail=f"account {family.account.id} has no user {name}")
