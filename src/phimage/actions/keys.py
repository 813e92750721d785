"""Access keys, for the operator."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from phimage.actions.params import MAX_TIME, AccountParam, Empty, UserParam, tenant_of, user_of
from phimage.actions.service import Call
from phimage.catalog.accounts import KEYS, NewKey, add_key, find_key, keys_of, last_use
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Right, User
from phimage.model.ids import PublicKey


class CreateAccessKey(Struct, rename="pascal", frozen=True, kw_only=True):
    """Create an access key for a user. Only this response has the private key."""

    account: AccountParam
    user: UserParam
    expire_time: Annotated[int, Meta(ge=0, le=MAX_TIME, description="when the key stops working, Unix seconds; 0 for never")]


class ListAccessKeys(Struct, rename="pascal", frozen=True, kw_only=True):
    """List the valid keys of an account."""

    account: AccountParam


class RevokeAccessKey(Struct, rename="pascal", frozen=True, kw_only=True):
    """Revoke a key. It stops working at once."""

    access_key: Annotated[PublicKey, Meta(max_length=255, description="the public key to revoke")]


class KeySet(Struct, rename="pascal", frozen=True, kw_only=True):
    """A key, without the private key."""

    access_key: Annotated[str, Meta(description="the public key")]
    user: Annotated[str, Meta(description="user of the key")]
    create_time: Annotated[int, Meta(description="creation time, Unix seconds")]
    expire_time: Annotated[int, Meta(description="when the key stops working, Unix seconds; 0 for never")]
    last_used: Annotated[str, Meta(description="last day of use in UTC, such as 2026-02-28; empty for never")]


class NewKeyResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """A new key. `PrivateKey` cannot be retrieved again."""

    account: Annotated[str, Meta(description="account of the key")]
    user: Annotated[str, Meta(description="user of the key")]
    public_key: Annotated[str, Meta(description="the public key, the parameter PublicKey of requests")]
    private_key: Annotated[str, Meta(description="the private key, which signs requests")]


class ListAccessKeysResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """The keys of an account, oldest first."""

    key_set: Annotated[tuple[KeySet, ...], Meta(description="the keys")]


def create_access_key(request: CreateAccessKey, call: Call) -> NewKeyResponse:
    if request.expire_time and request.expire_time <= call.time:
        raise UnavailableParam("ExpireTime", detail=f"it is in the past; the server's time is {int(call.time)}")
    with call.service.change(call) as change:
        user = user_of(tenant_of(change.connection, request.account), request.user)
        key = add_key(change, user, call.service.catalog.key_encryption, call.service.random, request.expire_time)
    return _new_key(user, key)


def list_access_keys(request: ListAccessKeys, call: Call) -> ListAccessKeysResponse:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        tenant = tenant_of(connection, request.account)
        keys = keys_of(connection, request.account)
        used = last_use(connection, [key.id for key in keys])
    return ListAccessKeysResponse(
        key_set=tuple(
            KeySet(
                access_key=key.id,
                user=tenant.users[key.user].name,
                create_time=key.created,
                expire_time=key.expires,
                last_used=used.get(key.id, ""),
            )
            for key in keys
        )
    )


def revoke_access_key(request: RevokeAccessKey, call: Call) -> Empty:
    if request.access_key == call.caller.key:
        raise UnavailableParam("AccessKey", detail="a key cannot revoke itself: use another key of an operator account")
    with call.service.change(call) as change:
        key = find_key(change.connection, request.access_key)
        if key is None:
            raise UnavailableParam("AccessKey", detail="there is no such key, or it is already revoked")
        KEYS.withdraw(change, key)
    return Empty()


def _new_key(user: User, key: NewKey) -> NewKeyResponse:
    return NewKeyResponse(account=user.account, user=user.name, public_key=key.public, private_key=key.private.reveal())


ACTIONS = (
    Action(CreateAccessKey, NewKeyResponse, create_access_key, Right.OPERATE, changes=True),
    Action(ListAccessKeys, ListAccessKeysResponse, list_access_keys, Right.OPERATE),
    Action(RevokeAccessKey, Empty, revoke_access_key, Right.OPERATE, changes=True),
)
