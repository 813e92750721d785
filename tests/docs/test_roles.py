"""The table of roles, read from the page and tried: every role calls every Action."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from phimage.actions import registry
from phimage.client import Client
from phimage.errors import NotPermitted, Refused
from tests.api.gateway import NEED_VERSION_2
from tests.api_described.racked import Racked, rescued
from tests.api_described.samples import PLACE, Params, of_tenant, project_of, samples, waiting, waiting_job
from tests.api_described.served import demo
from tests.e2e.process import Key

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "roles.md"


def table() -> tuple[list[str], dict[str, list[str]]]:
    """The table of Actions, the one whose first column is Action: its other columns, and each Action's row."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text("utf-8").splitlines() if "|" in line
    ]
    start = next(position for position, row in enumerate(rows) if row[0] == "Action")
    return rows[start][1:], {re.sub(r"\[(\w+)\].*", r"\1", row[0]): row[1:] for row in rows[start + 2 :]}


def cells() -> dict[str, dict[str, str]]:
    """What the table says of each Action by role."""
    columns, rows = table()
    return {action: dict(zip(columns[:-1], row[:-1], strict=True)) for action, row in rows.items()}


class Callers(NamedTuple):
    """Somebody of every role, a good request for every Action, and the project that sub-users must name."""

    clients: dict[str, Client]
    agents: dict[str, Client]
    requests: dict[str, Params]
    of_tenant: dict[str, Params]
    project: str


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    with demo(tmp_path_factory.mktemp("roles")) as served, served.client() as operator:
        opened = operator.call("CreateAccount", Account="acme", ZoneLimit=["any"], NetworkLimit=["any"]).fields
        project = opened["ProjectId"]
        keys = {"main user": Key(opened["PublicKey"], opened["PrivateKey"]), "operator account": served.key}
        for role, user in (("any key", "nobody"), ("viewer", "viewer"), ("editor", "worker")):
            operator.call("CreateUser", Account="acme", User=user)
            if role != "any key":
                operator.call("SetProjectMember", Account="acme", ProjectId=project, User=user, Role=role)
            made = operator.call("CreateAccessKey", Account="acme", User=user, ExpireTime=0).fields
            keys[role] = Key(made["PublicKey"], made["PrivateKey"])
        clients = {role: served.client(key) for role, key in keys.items()}
        hosts = Racked(operator)
        signed = {action.name: key for action in registry() if (key := hosts.key(action.name))}
        agents = {name: served.client(key) for name, key in signed.items()}
        good = samples(operator, hosts)
        yield Callers(clients, agents, good, of_tenant(clients["main user"], project), project)
        for client in (*clients.values(), *agents.values()):
            client.close()


def test_the_table_has_every_action_and_every_role() -> None:
    found = cells()
    assert found.keys() == {action.name for action in registry()}
    roles = {"any key", "viewer", "editor", "main user", "operator account", "agent"}
    assert [action for action, row in found.items() if row.keys() != roles] == []
    assert {said for row in found.values() for said in row.values()} == {"yes", "no"}


def test_the_table_says_which_signature_an_action_takes() -> None:
    columns, rows = table()
    assert columns[-1] == "signature"
    assert {action for action, row in rows.items() if row[-1] == "2"} == NEED_VERSION_2
    assert {row[-1] for row in rows.values()} == {"2", "1 or 2"}


@pytest.mark.parametrize("action", cells())
def test_a_role_may_call_what_the_table_says(action: str, callers: Callers) -> None:
    said = cells()[action]
    answered = {role: ret_code_of(action, role, callers) for role in said}

    assert answered == {role: 0 if may == "yes" else NotPermitted.ret_code for role, may in said.items()}


def ret_code_of(action: str, role: str, callers: Callers) -> int:
    """What a role is answered that sends a good request."""
    sub_user = role in ("any key", "viewer", "editor")
    client = callers.agents.get(action, callers.agents["AgentPoll"]) if role == "agent" else callers.clients[role]
    params: Params = {"ProjectId": callers.project} if sub_user else {}
    params |= callers.requests[action] | (callers.of_tenant.get(action, {}) if role != "operator account" else {})
    whose = callers.project if sub_user or role == "agent" else project_of(client)
    if action in ("CreatePHostImage", "ReinstallPHost"):  # each of them has a host of its own
        params |= {"PHostId": rescued(callers.clients["operator account"], whose)}
    elif action == "TerminatePHostImage":  # each of them has an image of its own to remove
        params |= {**PLACE, "ImageId": waiting(callers.clients["operator account"], whose)}
    elif action == "CancelPHostImageJob":
        params |= {"JobId": waiting_job(callers.clients["operator account"], whose)}
    try:
        client.call(action, **params)
    except Refused as refused:
        return refused.ret_code
    return 0


def test_a_sub_user_must_name_the_project_and_a_main_user_need_not(callers: Callers) -> None:
    for role, allowed in (("viewer", False), ("editor", False), ("main user", True)):
        client = callers.clients[role]
        if allowed:
            client.call("DescribePHostImage", **callers.requests["DescribePHostImage"])
        else:
            with pytest.raises(Refused) as refused:
                client.call("DescribePHostImage", **callers.requests["DescribePHostImage"])
            assert refused.value.ret_code == NotPermitted.ret_code


def test_the_main_user_names_any_project_of_the_account_and_none_of_another(callers: Callers) -> None:
    main, request = callers.clients["main user"], callers.requests["DescribePHostImage"]

    main.call("DescribePHostImage", **{**request, "ProjectId": callers.project})
    for other in (callers.requests["SetProjectMember"]["ProjectId"], "org-never-was"):
        with pytest.raises(Refused) as refused:
            main.call("DescribePHostImage", **{**request, "ProjectId": other})
        assert refused.value.ret_code == 292
