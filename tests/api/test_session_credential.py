"""Requests of a session: the same checks as for a signed request, and nothing from the network can be one."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from phimage.catalog.accounts import KEYS
from phimage.gateway.access import SessionCredential
from phimage.gateway.dispatch import RawRequest
from phimage.installation import command_author
from phimage.model.ids import PublicKey
from tests.api import small
from tests.api.conftest import Start
from tests.api.gateway import LOOPBACK, Gateway
from tests.api.publishing import Shop
from tests.api.signer import Pair, signed_2
from tests.sites import Site

NORTH_A = {"Region": "north", "Zone": "north-a"}


def enter(gateway: Gateway, pair: Pair, action: str, path: str = "/", address: str = LOOPBACK, **params: Any) -> dict[str, Any]:
    """The answer to a request of the session of a key."""
    return gateway.enter(
        RawRequest(
            method="POST",
            path=path,
            query="",
            content_type="application/json",
            body=json.dumps({"Action": action, **params}).encode(),
            address=address,
            request_id=str(uuid.uuid4()),
            session=SessionCredential(PublicKey(pair.public), "console"),
        )
    )


@pytest.mark.parametrize("pair", [small.ACME, small.VIEWER, small.RIVAL, small.OPERATOR])
@pytest.mark.parametrize("project", [{}, {"ProjectId": "org-a"}, {"ProjectId": "org-b"}, {"ProjectId": "none"}])
def test_a_session_may_what_its_key_may(small_gateway: Gateway, pair: Pair, project: dict[str, str]) -> None:
    for action, params in (
        ("DescribePHostImage", {**NORTH_A, **project}),
        ("FindPHostImages", project),
        ("GetProjectList", {}),
        ("ListRevisions", {}),
        ("ListKeys", {"Account": "acme"}),
    ):
        signed = small_gateway.replay(signed_2(action, params, pair=pair))
        assert enter(small_gateway, pair, action, **params) == signed.fields, action


def test_a_session_sees_the_catalogue_that_its_path_names(small_gateway: Gateway) -> None:
    past = enter(small_gateway, small.ACME, "DescribePHostImage", path="/rev/0/", **NORTH_A)

    assert past["RetCode"] == 230, "there was no region yet"


def test_a_session_is_refused_from_an_address_that_its_account_does_not_allow(small_gateway: Gateway) -> None:
    assert enter(small_gateway, small.FENCED, "GetProjectList", address=small.INSIDE)["RetCode"] == 0
    assert enter(small_gateway, small.FENCED, "GetProjectList", address=small.OUTSIDE)["RetCode"] == 294


def test_a_session_cannot_bring_another_signature(small_gateway: Gateway) -> None:
    for name in ("PublicKey", "Signature"):
        answer = enter(small_gateway, small.ACME, "GetProjectList", **{name: small.OPERATOR.public})
        assert (answer["RetCode"], name in answer["Message"]) == (230, True)


def test_the_same_bytes_of_two_sessions_are_two_questions(small_gateway: Gateway) -> None:
    asked: dict[str, Any] = {"Limit": 100, **NORTH_A}
    first = enter(small_gateway, small.ACME, "DescribePHostImage", **asked)
    second = enter(small_gateway, small.RIVAL, "DescribePHostImage", **asked)

    assert first == enter(small_gateway, small.ACME, "DescribePHostImage", **asked)
    assert first["ImageSet"] != second["ImageSet"]


def test_an_unknown_or_revoked_key_ends_its_session_at_once(shop: Shop) -> None:
    assert enter(shop.gateway, small.ACME, "GetProjectList")["RetCode"] == 0
    with shop.catalog.change(command_author("Test")) as change:
        key = KEYS.find(change.connection, small.ACME.public)
        assert key is not None
        KEYS.withdraw(change, key)
    shop.gateway.learn(change.number)

    assert enter(shop.gateway, small.ACME, "GetProjectList")["RetCode"] == 172
    assert enter(shop.gateway, Pair("no-such-key", ""), "GetProjectList")["RetCode"] == 172


def test_a_change_of_a_session_is_in_the_log_with_its_program(shop: Shop) -> None:
    answer = enter(shop.gateway, shop.operator, "SetQuota", Project="Base", Limit=1 << 40)
    newest = shop.well("ListRevisions", {"Limit": 1})["RevisionSet"][0]

    assert answer["RetCode"] == 0
    assert newest["Actor"].endswith(f" {shop.operator.public} via console")
    assert newest["Action"] == "SetQuota"
    assert uuid.UUID(newest["RequestId"])


def test_a_session_spends_the_rate_of_its_key(start: Start, small_site: Site) -> None:
    gateway = start(small_site, rate=0.001, burst=3)
    codes = [enter(gateway, small.ACME, "GetProjectList")["RetCode"] for _ in range(4)]

    assert codes[:3] == [0, 0, 0]
    assert codes[3] != 0
    assert gateway.ask("GetProjectList", pair=small.ACME).ret_code == codes[3]
