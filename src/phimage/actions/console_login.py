"""Links that sign a person in to the console."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.service import Call
from phimage.catalog import console_sessions
from phimage.gateway.registry import Action
from phimage.model.account import Right
from phimage.model.ids import new_secret


class CreateConsoleLogin(Struct, rename="pascal", frozen=True, kw_only=True):
    """Return a link that signs a browser in to the console as the user of the key, once, within a minute."""


class CreateConsoleLoginResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The link. The browser that opens it first is signed in with the rights of the key."""

    login_url: Annotated[str, Meta(description="address for a browser; its fragment is the code, which no server logs")]
    expire_time: Annotated[int, Meta(description="when the link stops working, Unix seconds")]


def create_console_login(request: CreateConsoleLogin, call: Call) -> CreateConsoleLoginResponse:
    code = new_secret(call.service.random)
    with call.service.write(call) as connection:
        expires = console_sessions.add_code(connection, code, call.caller.key, call.time)
    base = call.service.public_url or call.base_url()
    return CreateConsoleLoginResponse(login_url=f"{base}/console/login#{code}", expire_time=expires)


ACTIONS = (Action(CreateConsoleLogin, CreateConsoleLoginResponse, create_console_login, Right.KEY, changes=True),)
