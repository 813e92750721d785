"""Accounts, users, projects and keys: an operator's day at the command line."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

import pytest

from phimage.client import Client
from phimage.errors import Refused
from phimage.model.account import PrivateKey
from tests.e2e.conftest import Installation, on_sqlite
from tests.e2e.process import Key, Phimage

PLACE = ("--region", "cn-bj2", "--zone", "cn-bj2-02")
_numbers = count(1)

NO_SUCH_KEY = "this server has no such key: `phimage config ls` shows which key goes to which server"


@pytest.fixture
def name() -> str:
    """An account that no other test has."""
    return f"tenant-{next(_numbers)}"


def with_key(installation: Installation, made: dict[str, str]) -> Phimage:
    return installation.phimage.using(installation.url, Key(made["PublicKey"], made["PrivateKey"]))


def listed(installation: Installation, made: dict[str, str], project: str | None = None) -> int:
    """How many images a key lists, without a process for it."""
    with Client(installation.url, made["PublicKey"], PrivateKey(made["PrivateKey"])) as client:
        place = {"Region": "cn-bj2", "Zone": "cn-bj2-02", "ProjectId": project}
        total: int = client.call("DescribePHostImage", **place).fields["TotalCount"]
        return total


def keys(cli: Phimage, account: str) -> set[str]:
    return {row["AccessKey"] for row in cli.json("key", "ls", "--account", account)}


@on_sqlite
def test_a_new_account_can_list_images_with_the_key_that_was_printed(installation: Installation, name: str) -> None:
    operator = installation.phimage
    made = operator.json("account", "add", name, "--company", "Acme 有限公司", "--email", "it@acme.example")
    assert (made["Account"], made["User"]) == (name, "main")
    assert listed(installation, made) > 25
    assert with_key(installation, made).json("image", "ls", *PLACE)["TotalCount"] > 25
    rows = {row["Account"]: row for row in operator.json("account", "ls")}
    assert rows[name]["Company"] == "Acme 有限公司"
    assert not rows[name]["Operator"]
    assert rows["operator"]["Operator"]
    again = operator.run("account", "add", name)
    assert again.code == 1
    assert again.err == f"phimage: RetCode 230: Params [Account] not available (there is already an account {name})\n"


@on_sqlite
def test_a_key_is_printed_for_people_with_what_to_do_next(installation: Installation, name: str) -> None:
    result = installation.phimage.run("account", "add", name)
    public = result.out.splitlines()[0].removeprefix("public key   ")
    assert result.out.splitlines()[1].startswith("private key  ")
    assert f"phimage config add {name} --endpoint {installation.url} --public-key {public}" in result.err


@on_sqlite
def test_a_sub_user_sees_only_projects_that_it_is_a_member_of(installation: Installation, name: str) -> None:
    operator = installation.phimage
    default = operator.json("account", "add", name)["ProjectId"]
    web = operator.json("project", "add", "Web", "--account", name)["ProjectId"]
    assert operator.json("user", "add", "alice", "--account", name, "--email", "alice@acme.example")["UserId"] > 0
    key = operator.json("key", "create", "--account", name, "--user", "alice")
    alice = with_key(installation, key)
    assert "RetCode 299" in alice.run("image", "ls", *PLACE, "--project", web).err

    operator.well("project", "member", web, "alice", "--account", name, "--role", "editor")
    assert listed(installation, key, web) > 25
    refused = alice.run("image", "ls", *PLACE, "--project", default)
    assert (refused.code, "needs the role viewer in project" in refused.err) == (1, True)
    nothing_named = alice.run("image", "ls", *PLACE)
    assert nothing_named.code == 1
    assert "a sub-user must name the project" in nothing_named.err

    projects = {row["ProjectId"]: row for row in operator.json("project", "ls", "--account", name)}
    assert (projects[default]["IsDefault"], projects[default]["Members"]) == (True, {})
    assert (projects[web]["ProjectName"], projects[web]["Members"]) == ("Web", {"alice": "editor"})
    users = {row["User"]: row for row in operator.json("user", "ls", "--account", name)}
    assert users["alice"]["Roles"] == {web: "editor"}
    assert users["main"]["Main"]

    operator.well("project", "member", web, "alice", "--account", name, "--remove")
    with pytest.raises(Refused, match="RetCode 299"):
        listed(installation, key, web)
    twice = operator.run("project", "member", web, "alice", "--account", name, "--remove")
    assert (twice.code, "alice is not a member" in twice.err) == (1, True)


def test_a_revoked_key_is_refused_by_the_very_next_call(installation: Installation, name: str) -> None:
    operator = installation.phimage
    first = operator.json("account", "add", name)
    second = operator.json("key", "create", "--account", name)
    assert keys(operator, name) == {first["PublicKey"], second["PublicKey"]}
    private = PrivateKey(second["PrivateKey"])
    with installation.client() as client, Client(installation.url, second["PublicKey"], private) as tenant:
        assert tenant.call("GetUserInfo").fields["RetCode"] == 0
        client.call("RevokeAccessKey", AccessKey=second["PublicKey"])
        with pytest.raises(Refused) as refusal:
            tenant.call("GetUserInfo")
        assert refusal.value.ret_code == 172

    refused = with_key(installation, second).run("image", "ls", *PLACE)
    assert (refused.code, refused.err) == (1, f"phimage: RetCode 172: User Not Exists ({NO_SUCH_KEY})\n")
    assert keys(operator, name) == {first["PublicKey"]}

    revoked = operator.run("key", "revoke", first["PublicKey"])
    assert (revoked.code, revoked.err) == (0, "the key is revoked\n")
    again = operator.run("key", "revoke", first["PublicKey"])
    assert (again.code, "it is already revoked" in again.err) == (1, True)


@on_sqlite
def test_no_list_shows_a_private_key(installation: Installation, name: str) -> None:
    made = installation.phimage.json("account", "add", name)
    for command in (("key", "ls", "--account", name), ("key", "ls", "--account", name, "--json"), ("log", "--changes")):
        shown = installation.phimage.well(*command)
        assert made["PublicKey"] in shown
        assert made["PrivateKey"] not in shown


@on_sqlite
def test_the_operator_cannot_lock_itself_out(installation: Installation) -> None:
    suicide = installation.phimage.run("key", "revoke", installation.key.public)
    assert (suicide.code, "a key cannot revoke itself" in suicide.err) == (1, True)
    fenced = installation.phimage.run("account", "set", "operator", "--network", "192.0.2.0/24")
    assert (fenced.code, "the address of this call" in fenced.err) == (1, True)
    assert installation.phimage.run("account", "ls").code == 0


@on_sqlite
def test_limits_of_an_account_can_be_set_and_lifted(installation: Installation, name: str) -> None:
    operator = installation.phimage
    tenant = with_key(installation, operator.json("account", "add", name))
    operator.well("account", "set", name, "--zone", "hk-02")
    assert "RetCode 293: Zone [cn-bj2-02] not permitted" in tenant.run("image", "ls", *PLACE).err
    operator.well("account", "set", name, "--any-zone", "--network", "192.0.2.0/24")
    assert "RetCode 294: IP not permitted" in tenant.run("image", "ls", *PLACE).err
    operator.well("account", "set", name, "--any-network")
    assert tenant.run("image", "ls", *PLACE).code == 0
    wrong = operator.run("account", "set", name, "--zone", "atlantis")
    assert (wrong.code, "there is no zone atlantis" in wrong.err) == (1, True)


@on_sqlite
def test_a_tenants_key_is_told_that_it_needs_the_operators(installation: Installation, name: str) -> None:
    tenant = with_key(installation, installation.phimage.json("account", "add", name))
    refused = tenant.run("account", "ls")
    assert refused.code == 1
    assert "RetCode 299" in refused.err
    assert "needs a key of the operator account" in refused.err


@on_sqlite
def test_the_log_names_who_opened_an_account_and_from_where(installation: Installation, name: str) -> None:
    installation.phimage.well("account", "add", name)
    revisions: list[dict[str, Any]] = installation.phimage.json("log", "-n", "1")["RevisionSet"]
    newest = revisions[0]
    assert (newest["Action"], newest["Address"]) == ("CreateAccount", "127.0.0.1")
    assert newest["Actor"] == f"operator/main {installation.key.public}"
    assert {"Noun": "account", "Id": name, "Verb": "added"} in newest["Changes"]
    first = installation.phimage.json("log", "--after", "0", "-n", "1")["RevisionSet"][0]
    assert (first["Action"], first["Actor"]) == ("FirstStart", "command line")


@on_sqlite
@pytest.mark.parametrize("hours", [-5, 5])
def test_a_client_with_a_wrong_clock_takes_over_the_servers(installation: Installation, hours: int) -> None:
    key = installation.key
    with Client(installation.url, key.public, PrivateKey(key.private), clock=lambda: time.time() + 3600 * hours) as client:
        assert client.call("ListAccounts").fields["RetCode"] == 0
        begun = time.time()
        made = client.call("ListAccessKeys", Account="operator").fields["KeySet"]
    assert all(found["CreateTime"] <= begun for found in made)


@on_sqlite
def test_a_key_with_an_end_is_listed_with_it(installation: Installation, name: str) -> None:
    operator = installation.phimage
    operator.json("account", "add", name)
    made = operator.json("key", "create", "--account", name, "--days", "90")
    rows = {row["AccessKey"]: row["ExpireTime"] for row in operator.json("key", "ls", "--account", name)}
    assert abs(rows.pop(made["PublicKey"]) - time.time() - 90 * 86_400) < 600
    assert list(rows.values()) == [0]
    told = operator.run("key", "ls", "--account", name).out
    assert "EXPIRES" in told
    assert "never" in told
