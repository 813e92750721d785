"""Accounts, for the operator."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from phimage.actions.keys import NewKeyResponse
from phimage.actions.params import AccountParam, Empty, Line, tenant_of
from phimage.actions.service import Call
from phimage.catalog.accounts import ACCOUNTS, add_account, add_key, all_accounts
from phimage.errors import UnavailableParam
from phimage.gateway.registry import Action
from phimage.model.account import Account, Right
from phimage.model.ids import ZoneId
from phimage.model.topology import Topology

ANY = "any"
"""The value of a limit that allows everything."""
ZonesParam = Annotated[tuple[ZoneId, ...], Meta(description="the only zones that the account may use; any for every zone")]
NetworksParam = Annotated[
    tuple[Annotated[str, Meta(max_length=64)], ...],
    Meta(description="the only networks that its keys work from, such as 192.0.2.0/24 or 2001:db8::/32; any for every network"),
]


class CreateAccount(Struct, rename="pascal", frozen=True, kw_only=True):
    """Create an account with a main user, a default project and an access key."""

    account: AccountParam
    company: Annotated[Line, Meta(description="name of the company")] = ""
    email: Annotated[Line, Meta(description="email address of the main user")] = ""
    # docs/decisions.md#no-parameter-is-more-powerful-when-it-is-absent
    zone_limit: ZonesParam
    network_limit: NetworksParam
    operator: Annotated[bool, Meta(description="whether it is an operator account, which may call every Action")] = False


class ModifyAccount(Struct, rename="pascal", frozen=True, kw_only=True):
    """Change an account. Absent parameters leave the account as it is."""

    account: AccountParam
    company: Annotated[Line, Meta(description="name of the company")] | None = None
    email: Annotated[Line, Meta(description="email address of the main user")] | None = None
    zone_limit: ZonesParam = ()
    network_limit: NetworksParam = ()


class ListAccounts(Struct, rename="pascal", frozen=True, kw_only=True):
    """List all accounts."""


class AccountSet(Struct, rename="pascal", frozen=True, kw_only=True):
    """An account."""

    account: Annotated[str, Meta(description="name of the account")]
    company: Annotated[str, Meta(description="name of the company")]
    email: Annotated[str, Meta(description="email address of the main user")]
    operator: Annotated[bool, Meta(description="whether it is an operator account, which may call every Action")]
    zone_limit: Annotated[tuple[str, ...], Meta(description="the only zones that it may use; empty for every zone")]
    network_limit: Annotated[tuple[str, ...], Meta(description="the only networks that its keys work from; empty for any")]
    create_time: Annotated[int, Meta(description="creation time, Unix seconds")]


class CreateAccountResponse(NewKeyResponse, rename="pascal", frozen=True, kw_only=True):
    """A new account."""

    user_id: Annotated[int, Meta(description="number of the main user")]
    project_id: Annotated[str, Meta(description="id of the default project")]


class ListAccountsResponse(Struct, rename="pascal", frozen=True, kw_only=True):
    """All accounts, by name."""

    account_set: Annotated[tuple[AccountSet, ...], Meta(description="the accounts")]


def create_account(request: CreateAccount, call: Call) -> CreateAccountResponse:
    account = Account(
        id=request.account,
        operator=request.operator,
        company=request.company,
        email=request.email,
        zones=_zones(request.zone_limit, call.view.topology()),
        networks=_networks(request.network_limit),
        created=int(call.time),
    )
    with call.service.change(call) as change:
        if ACCOUNTS.find(change.connection, account.id) is not None:
            raise UnavailableParam("Account", detail=f"there is already an account {account.id}")
        user, project = add_account(change, account, call.service.random)
        key = add_key(change, user, call.service.catalog.key_encryption, call.service.random)
    return CreateAccountResponse(
        account=account.id,
        user=user.name,
        user_id=user.id,
        project_id=project.id,
        public_key=key.public,
        private_key=key.private.reveal(),
    )


def modify_account(request: ModifyAccount, call: Call) -> Empty:
    zones = _zones(request.zone_limit, call.view.topology()) if request.zone_limit else None
    networks = _networks(request.network_limit) if request.network_limit else None
    with call.service.change(call) as change:
        before = tenant_of(change.connection, request.account).account
        if before.operator and networks and not msgspec.structs.replace(before, networks=networks).may_call_from(call.address):
            raise _shut_out(call.address)
        after = msgspec.structs.replace(
            before,
            company=before.company if request.company is None else request.company,
            email=before.email if request.email is None else request.email,
            zones=before.zones if zones is None else zones,
            networks=before.networks if networks is None else networks,
        )
        if after.id == call.caller.account.id and not after.may_call_from(call.address):
            raise _shut_out(call.address)
        ACCOUNTS.put(change, after)
    return Empty()


def list_accounts(request: ListAccounts, call: Call) -> ListAccountsResponse:
    call.view.may_wait()
    with call.service.catalog.database.read() as connection:
        return ListAccountsResponse(account_set=tuple(map(_account_set, all_accounts(connection))))


def _shut_out(address: str) -> UnavailableParam:
    return UnavailableParam("NetworkLimit", detail=f"the limit excludes {address}, the address of this call: include it")


def _zones(zones: tuple[ZoneId, ...], topology: Topology) -> tuple[ZoneId, ...]:
    if zones == (ANY,):
        return ()
    for zone in zones:
        if zone not in topology.zones:
            raise UnavailableParam("ZoneLimit", detail=f"there is no zone {zone}; expected zones, or any")
    return tuple(sorted(set(zones)))


def _networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    if networks == (ANY,):
        return ()
    canonical = set()
    for network in networks:
        try:
            canonical.add(str(ipaddress.ip_network(network)))
        except ValueError as error:
            raise UnavailableParam("NetworkLimit", detail=f"{error}; expected a network such as 192.0.2.0/24, or any") from None
    return tuple(sorted(canonical))


def _account_set(account: Account) -> AccountSet:
    return AccountSet(
        account=account.id,
        company=account.company,
        email=account.email,
        operator=account.operator,
        zone_limit=account.zones,
        network_limit=account.networks,
        create_time=account.created,
    )


ACTIONS = (
    Action(CreateAccount, CreateAccountResponse, create_account, Right.OPERATE, changes=True),
    Action(ModifyAccount, Empty, modify_account, Right.OPERATE, changes=True),
    Action(ListAccounts, ListAccountsResponse, list_accounts, Right.OPERATE),
)
