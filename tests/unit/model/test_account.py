"""Who may do what, from where, and in which zones."""

from __future__ import annotations

import pytest

from phimage.model.account import Account, PrivateKey, Right, Role, Tenant
from phimage.model.ids import ProjectId, UserId, ZoneId
from tests.examples import account, membership, project, user

OFFICE = account(networks=("192.0.2.0/24", "203.0.113.7/32", "2001:db8::/32"))


def test_an_account_without_zones_may_use_every_zone() -> None:
    assert account().may_use_zone(ZoneId("cn-bj2-02"))


def test_an_account_with_zones_may_use_only_those() -> None:
    limited = account(zones=("cn-bj2-02", "hk-01"))

    assert limited.may_use_zone(ZoneId("hk-01"))
    assert not limited.may_use_zone(ZoneId("hk-02"))
    assert not limited.may_use_zone(ZoneId(""))


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1", "", "a socket"])
def test_an_account_without_networks_may_call_from_anywhere(address: str) -> None:
    assert account().may_call_from(address)


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.0",
        "192.0.2.255",
        "203.0.113.7",
        "2001:db8::1",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:0DB8:0:0::1",
        "::ffff:192.0.2.9",
        "::ffff:c000:209",
    ],
)
def test_addresses_in_a_network_of_the_account_are_allowed(address: str) -> None:
    assert OFFICE.may_call_from(address)


@pytest.mark.parametrize(
    "address",
    [
        "192.0.3.0",
        "192.0.1.255",
        "203.0.113.8",
        "2001:db9::1",
        "::1",
        "::192.0.2.9",  # compatible, not mapped: another address
        "::ffff:192.0.3.9",
        "64:ff9b::192.0.2.9",
        "",
        "unknown",
        "192.0.2.9:443",
        "192.0.2.09",
        "192.0.2.9, 192.0.2.8",
    ],
)
def test_other_addresses_and_what_is_no_address_are_refused(address: str) -> None:
    assert not OFFICE.may_call_from(address)


@pytest.mark.parametrize("limited", [account(networks=("192.0.2.0/24",)), account(networks=("2001:db8::/32",))])
def test_a_network_of_one_kind_allows_no_address_of_the_other(limited: Account) -> None:
    assert limited.may_call_from("192.0.2.9") != limited.may_call_from("2001:db8::9")


MAIN, SUB, STRANGER = user(50_000_001, main=True), user(50_000_002), user(50_000_003)
HOUSEHOLD = Tenant(
    account=account(),
    users={found.id: found for found in (MAIN, SUB, STRANGER)},
    projects={found.id: found for found in (project("org-default", default=True), project("org-a"), project("org-b"))},
    roles={
        (of.project, of.user): of.role
        for of in (membership("org-a", SUB.id, role=Role.VIEWER), membership("org-b", SUB.id, role=Role.EDITOR))
    },
)


@pytest.mark.parametrize("of", ["org-default", "org-a", "org-b"])
def test_the_main_user_may_change_every_project(of: str) -> None:
    assert HOUSEHOLD.right(MAIN, ProjectId(of)) is Right.CHANGE


def test_a_sub_user_may_do_what_its_role_in_the_project_says() -> None:
    assert HOUSEHOLD.right(SUB, ProjectId("org-a")) is Right.READ
    assert HOUSEHOLD.right(SUB, ProjectId("org-b")) is Right.CHANGE
    assert HOUSEHOLD.right(SUB, ProjectId("org-default")) is Right.KEY
    assert HOUSEHOLD.right(STRANGER, ProjectId("org-a")) is Right.KEY


def test_a_role_in_one_project_gives_nothing_in_another() -> None:
    assert HOUSEHOLD.right(SUB, ProjectId("org-c")) is Right.KEY


def test_no_role_in_a_project_gives_the_right_to_operate_the_cloud() -> None:
    assert all(HOUSEHOLD.right(found, of) < Right.OPERATE for found in HOUSEHOLD.users.values() for of in HOUSEHOLD.projects)


def test_rights_are_ordered_weakest_first() -> None:
    assert Right.KEY < Right.READ < Right.CHANGE < Right.OPERATE


def test_the_default_project_is_the_one_that_is_marked() -> None:
    found = HOUSEHOLD.default_project()

    assert found is not None
    assert found.id == "org-default"


def test_without_a_marked_project_there_is_no_default() -> None:
    tenant = Tenant(account=account(), users={}, projects={ProjectId("org-a"): project("org-a")}, roles={})

    assert tenant.default_project() is None


def test_members_of_a_project_are_the_main_user_and_those_with_a_role() -> None:
    assert HOUSEHOLD.members(ProjectId("org-default")) == 1
    assert HOUSEHOLD.members(ProjectId("org-a")) == 2
    assert HOUSEHOLD.members(ProjectId("org-b")) == 2


def test_a_user_who_is_not_of_the_household_is_treated_by_its_own_kind() -> None:
    assert HOUSEHOLD.right(user(UserId(50_000_099)), ProjectId("org-a")) is Right.KEY


def test_a_private_key_shows_itself_only_to_who_asks() -> None:
    key = PrivateKey("a-very-private-key")

    assert key.reveal() == "a-very-private-key"
    assert "private-key" not in f"{key} {key!r} {[key]} {key:}"
