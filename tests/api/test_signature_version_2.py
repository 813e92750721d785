"""Signature version 2: which Actions need it, what cannot be forged any more, and what is carried out once."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from phimage.actions import registry
from phimage.gateway.registry import Credential
from phimage.model.account import Right
from tests.api import small
from tests.api.conftest import Start, both_sites
from tests.api.gateway import NEED_VERSION_2, Gateway, running
from tests.api.signer import Encoding, Pair, Params, canonical, encoded, sealed, sign, signed, signed_2
from tests.sites import Site

LIST = "DescribePHostImage"
NORTH_A = {"Region": "north", "Zone": "north-a"}
ANYWHERE = {"NetworkLimit.0": "any", "ZoneLimit.0": "any"}
UCLOUD = {
    "CreatePHostImage",
    "DescribePHost",
    "DescribePHostImage",
    "ModifyPHostImageInfo",
    "ReinstallPHost",
    "TerminatePHostImage",
    "DescribePHostMachineType",
    "DescribeBaremetalMachineType",
    "GetRegion",
    "ListRegions",
    "ListZones",
    "GetProjectList",
    "GetUserInfo",
}
READS_OF_TENANTS = {
    "GetPHostImage",
    "GetPHostImageMatrix",
    "ExplainPHostImage",
    "FindPHostImages",
    "ListPHostImageChanges",
    "ListPHostImageJobs",
    "ListPHostImageMatrices",
    "ListHosts",
    "GetPHostImageDownloadUrl",
    "GetTopology",
    "GetPHostImageJob",
    "GetPHostImageProgress",
}


def test_the_table_of_actions_is_that_of_the_protocol() -> None:
    actions = {action.name: action for action in registry()}

    assert actions.keys() - NEED_VERSION_2 == UCLOUD | READS_OF_TENANTS
    of_people = [action for action in registry() if action.credential is Credential.KEY]
    assert all(action.right >= Right.CHANGE or action.changes for action in of_people if action.needs_version_2)


def test_an_action_that_needs_version_2_says_so(small_gateway: Gateway) -> None:
    actions = {action.name: action for action in registry()}
    for name in sorted(NEED_VERSION_2):
        reply = small_gateway.replay(signed(name, pair=small.OPERATOR))
        assert reply.ret_code == 299
        wanted = (
            "signature version 2" if actions[name].credential is Credential.KEY else f"the {actions[name].credential.value}"
        )
        assert wanted in reply.fields["Detail"]


@pytest.mark.parametrize("encoding", Encoding)
def test_every_action_takes_version_2_in_every_encoding(small_gateway: Gateway, encoding: Encoding) -> None:
    listed = small_gateway.replay(signed_2(LIST, NORTH_A, encoding, small.ACME))

    assert listed.body == small_gateway.replay(signed(LIST, NORTH_A, encoding, small.ACME)).body
    assert small_gateway.replay(signed_2("ListAccounts", {}, encoding, small.OPERATOR)).ret_code == 0


class Forgery(NamedTuple):
    """Two requests with the same signature of version 1: what its author meant, and what somebody makes of it."""

    action: str
    meant: Params
    forged: Params
    pair: Pair = small.OPERATOR


PLAN = "phimage: 1\n# ActionApplyCatalogCatalogphimage: 1Prunetrue"
"""A catalogue file with a comment. Nobody who reviews it sees a call of ApplyCatalog."""
PUBLISH = {"Name": "x", "OsType": "Debian", "OsName": "x", "Support.0": "Both", "TrustFirstUse": "true", "Zone.0": "north-a"}
FORGERIES = {
    "the main user's key": Forgery(
        "CreateAccessKey",
        {"Account": "acme", "ExpireTime": "0", "User": "bob"},
        {"Account": "acme", "ExpireTime": "0", "Us": "erbob"},
    ),
    "a key that never expires": Forgery(
        "CreateAccessKey",
        {"Account": "acme", "ExpireTime": "1900000000", "User": "main"},
        {"Account": "acme", "ExpireTim": "e1900000000", "User": "main"},
    ),
    "no limit to networks": Forgery(
        "CreateAccount",
        {"Account": "acme2", "NetworkLimit.0": "192.0.2.0/24", "ZoneLimit.0": "any"},
        {"Account": "acme2", "NetworkLimi": "t.0192.0.2.0/24", "ZoneLimit.0": "any"},
    ),
    "a private disk for everybody": Forgery(
        "PublishPHostImage",
        {**PUBLISH, "ImageType": "Custom", "ProjectId": "org-a"},
        {**PUBLISH, "ImageTyp": "eCustom", "ProjectI": "dorg-a"},
    ),
    "an operator account from a tenant's text": Forgery(
        "CreateAccount",
        {"Account": "acme2", "Email": "a@b.exampleNetworkLimit.0anyOperatortrueP", **ANYWHERE},
        {"Account": "acme2", "Email": "a@b.example", "Operator": "true", "PNetworkLimit.0": "any", **ANYWHERE},
    ),
    "a plan that is applied": Forgery(
        "PlanCatalog",
        {"Action": "PlanCatalog", "Catalog": PLAN},
        {"A": "ctionPlanCatalogCatalogphimage: 1\n# ", "Action": "ApplyCatalog", "Catalog": "phimage: 1", "Prune": "true"},
    ),
    "an image of another project": Forgery(
        "TerminatePHostImage",
        {**NORTH_A, "ImageId": "c-a-new", "ProjectId": "org-b"},
        {**NORTH_A, "ImageId": "c-a-new", "ProjectI": "dorg-b"},
        small.ACME,
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_signature_of_version_1_fits_two_requests_and_none_of_them_does_harm(
    start: Start, small_site: Site, name: str
) -> None:
    forgery = FORGERIES[name]
    meant = {"Action": forgery.action, "PublicKey": forgery.pair.public, **forgery.meant}
    forged = {"Action": forgery.action, "PublicKey": forgery.pair.public, **forgery.forged}
    assert canonical(meant) == canonical(forged)
    request = encoded({**forged, "Signature": sign(meant, forgery.pair.private)})

    strict, legacy = start(small_site), start(small_site, allow_legacy_operator_signatures=True)

    needs = forged["Action"] in NEED_VERSION_2
    assert strict.replay(request).ret_code == (299 if needs else 230)
    assert legacy.replay(request).ret_code in (220, 230)
    for gateway in (strict, legacy):
        revision = gateway.ask("GetRegion").headers["x-phimage-revision"]
        assert revision == start(small_site).ask("GetRegion").headers["x-phimage-revision"], "something was changed"


@pytest.mark.parametrize("name", FORGERIES)
def test_a_signature_of_version_2_fits_one_request(small_gateway: Gateway, name: str) -> None:
    forgery = FORGERIES[name]
    meant = signed_2(forgery.action, forgery.meant, pair=forgery.pair)
    forged = encoded({"Action": forgery.action, **forgery.forged})

    assert small_gateway.replay(meant._replace(body=forged.body)).ret_code == 171


def test_no_part_of_a_request_can_be_exchanged(small_gateway: Gateway) -> None:
    request = signed_2("ListAccounts", pair=small.OPERATOR, query="Action=ListAccounts")
    get = signed_2("ListAccounts", {}, Encoding.QUERY, small.OPERATOR)
    others = {
        "method": request._replace(method="GET"),
        "path": request._replace(path="/rev/1/"),
        "query": request._replace(query="Action=ListQuotas"),
        "no query": request._replace(query=""),
        "body": request._replace(body=b"Action=ListQuotas"),
        "no body": request._replace(body=b""),
        "query of a GET": get._replace(query="Action=ListQuotas"),
        "key": request._replace(
            headers=tuple((n, v.replace(small.OPERATOR.public, small.ACME.public)) for n, v in request.headers)
        ),
    }

    assert small_gateway.replay(request).ret_code == small_gateway.replay(get).ret_code == 0
    assert {name: small_gateway.replay(other).ret_code for name, other in others.items()} == dict.fromkeys(others, 171)


def test_the_content_type_is_not_signed_and_decides_nothing(start: Start, small_site: Site) -> None:
    """A reviewed catalogue file in a JSON body, which is a form of ApplyCatalog to who reads it so."""
    gateway = start(small_site)
    comment = "phimage: 1\n# &Action=ApplyCatalog&Prune=true&Catalog=phimage: 1&x="
    plan = signed_2("PlanCatalog", {"Catalog": comment}, Encoding.FLAT, small.OPERATOR)
    form = plan._replace(headers=(("Content-Type", "application/x-www-form-urlencoded"), *plan.headers[1:]))

    assert gateway.replay(plan).fields["Action"] == gateway.replay(form).fields["Action"] == "PlanCatalogResponse"


@pytest.mark.parametrize("name", ["PublicKey", "Signature"])
def test_two_signatures_are_refused(small_gateway: Gateway, name: str) -> None:
    reply = small_gateway.ask("ListAccounts", {name: "x"}, pair=small.OPERATOR)

    assert (reply.ret_code, reply.message) == (230, f"Params [{name}] not available")


@pytest.mark.parametrize(("seconds", "code"), [(-290, 0), (290, 0), (-310, 171), (310, 171)])
def test_a_signature_is_valid_for_five_minutes_and_the_refusal_says_the_time(
    small_gateway: Gateway, seconds: int, code: int
) -> None:
    request = encoded({"Action": "ListAccounts"})
    reply = small_gateway.replay(sealed(request, small.OPERATOR, created=time.time() + seconds))

    assert reply.ret_code == code
    if code:
        assert abs(reply.fields["ServerTime"] - time.time()) < 60
        assert "ServerTime" in reply.fields["Detail"]
    wrong = small_gateway.replay(sealed(request, Pair(small.OPERATOR.public, "x"), created=time.time() + seconds))
    assert (wrong.ret_code, "ServerTime" in wrong.fields) == (171, False)


@both_sites
def test_a_signed_change_is_carried_out_once_by_whichever_server(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    nonce = uuid.uuid4().hex
    request = encoded({"Action": "SetQuota", "Project": "org-a", "Limit": "1"})
    lifted = sealed(encoded({"Action": "SetQuota", "Project": "org-a", "Limit": "-1"}), small.OPERATOR)

    codes = [gateway.replay(sealed(request, small.OPERATOR, nonce=nonce)).ret_code]
    codes.append(gateway.replay(lifted).ret_code)
    codes.append(gateway.replay(sealed(request, small.OPERATOR, nonce=nonce)).ret_code)

    assert codes == [0, 0, 171]
    assert gateway.ask("ListQuotas", pair=small.OPERATOR).fields["QuotaSet"] == []


def test_a_nonce_is_used_up_by_what_happened_alone(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    refused = sealed(encoded({"Action": "SetQuota", "Project": "org-none", "Limit": "1"}), small.OPERATOR)
    read = sealed(encoded({"Action": "ListQuotas"}), small.OPERATOR)
    unchanged = sealed(encoded({"Action": "SetQuota", "Project": "org-a", "Limit": "-1"}), small.OPERATOR)

    assert [gateway.replay(refused).ret_code for _ in range(2)] == [230, 230]
    assert [gateway.replay(read).ret_code for _ in range(2)] == [0, 0]
    assert [gateway.replay(unchanged).ret_code for _ in range(2)] == [0, 171]


def test_nonces_of_two_keys_are_apart(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    made = gateway.ask("CreateAccessKey", {"Account": "operator", "User": "main", "ExpireTime": 0}, pair=small.OPERATOR).fields
    other, nonce = Pair(made["PublicKey"], made["PrivateKey"]), uuid.uuid4().hex
    request = encoded({"Action": "SetQuota", "Project": "org-a", "Limit": "1"})

    assert [gateway.replay(sealed(request, pair, nonce=nonce)).ret_code for pair in (small.OPERATOR, other)] == [0, 0]


@pytest.mark.parametrize("name", ["Usr", "user", "Zone.0", "base-url", "Note", "ExpireTime.0"])
def test_a_parameter_that_a_change_does_not_have_is_refused(small_gateway: Gateway, name: str) -> None:
    given = {"Account": "acme", "User": "main", "ExpireTime": 0, **NORTH_A, "ProjectId": "org-a", name: "x"}
    reply = small_gateway.ask("CreateAccessKey", given, pair=small.OPERATOR)

    assert (reply.ret_code, reply.message) == (230, f"Params [{name}] not available")


@pytest.mark.parametrize(("name", "code"), [("base-url", 0), ("private-key", 0), ("Note", 230), ("ImageId.0.x", 230)])
def test_a_client_of_ucloud_may_send_its_flags_with_a_change(start: Start, small_site: Site, name: str, code: int) -> None:
    terminate = {**NORTH_A, "ImageId": "c-a-new", "ProjectId": "org-a", name: "x"}

    assert start(small_site).replay(signed("TerminatePHostImage", terminate, pair=small.ACME)).ret_code == code


def test_signatures_of_before_work_where_the_operator_allows_them(start: Start, small_site: Site) -> None:
    gateway = start(small_site, allow_legacy_operator_signatures=True)

    assert gateway.replay(signed("ListAccounts", pair=small.OPERATOR)).ret_code == 0
    assert gateway.replay(signed_2("ListAccounts", pair=small.OPERATOR)).ret_code == 0
    assert gateway.replay(signed("ListAccounts", pair=small.ACME)).ret_code == 299


@pytest.mark.parametrize("field", ["Signature", "Signature-Input", "Content-Digest"])
def test_half_a_signature_is_wrong(small_gateway: Gateway, field: str) -> None:
    request = signed_2("ListAccounts", pair=small.OPERATOR)
    reply = small_gateway.replay(request._replace(headers=tuple(pair for pair in request.headers if pair[0] != field)))

    assert reply.ret_code == 171
    assert reply.fields["Detail"]


def test_a_key_stops_working_when_it_expires(start: Start, small_site: Site) -> None:
    clock = [time.time()]
    gateway = start(small_site, now=lambda: clock[0])
    soon = int(clock[0]) + 60
    asked = {"Account": "acme", "User": small.ACME.public, "ExpireTime": soon}
    made = gateway.ask("CreateAccessKey", asked, pair=small.OPERATOR).fields
    pair = Pair(made["PublicKey"], made["PrivateKey"])
    requests = [signed(LIST, NORTH_A, pair=pair), signed_2(LIST, NORTH_A, pair=pair)]

    clock[0] = soon - 1
    assert [gateway.replay(request).ret_code for request in requests] == [0, 0]
    clock[0] = soon
    assert [gateway.replay(request).ret_code for request in requests] == [172, 172]
    year_10000 = gateway.ask("CreateAccessKey", {**asked, "ExpireTime": 253_402_300_800}, pair=small.OPERATOR)
    assert year_10000.ret_code == 230
    past = gateway.ask("CreateAccessKey", {**asked, "ExpireTime": 1}, pair=small.OPERATOR)
    assert (past.ret_code, past.message) == (230, "Params [ExpireTime] not available")
    (listed,) = [key for key in keys_of(gateway, "acme") if key["AccessKey"] == pair.public]
    assert listed["ExpireTime"] == soon


def keys_of(gateway: Gateway, account: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.ask("ListAccessKeys", {"Account": account}, pair=small.OPERATOR).fields["KeySet"]
    return found


def test_the_last_day_of_use_of_a_key_is_listed(small_site: Site, tmp_path: Path) -> None:
    with small_site.copy(tmp_path / "used") as copy:
        with running(copy.settings()) as gateway:
            assert gateway.ask(LIST, NORTH_A, pair=small.ACME).ret_code == 0
            assert gateway.ask(LIST, NORTH_A, pair=Pair(small.WORKER.public, "wrong")).ret_code == 171
        with running(copy.settings()) as gateway:
            days = {key["AccessKey"]: key["LastUsed"] for key in keys_of(gateway, "acme")}

    assert date.fromisoformat(days.pop(small.ACME.public)) - datetime.now(UTC).date() in (timedelta(0), timedelta(-1))
    assert set(days.values()) == {""}


def test_a_body_that_was_not_signed_is_not_parsed(small_gateway: Gateway) -> None:
    request = signed_2("ListAccounts", pair=small.OPERATOR)

    assert small_gateway.replay(request._replace(body=b"{not JSON")).ret_code == 171
