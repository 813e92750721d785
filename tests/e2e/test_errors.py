"""Every error, as the official SDK shows it to its user: RetCode and Message, at HTTP status 200."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import urllib3
from ucloud.core import exc

from phimage.gateway.signature import sign
from phimage.model.account import PrivateKey
from tests.e2e.conftest import Installation, Sdk
from tests.e2e.process import Key

PLACE = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}
LIST = "DescribePHostImage"


class Tenants(NamedTuple):
    """Accounts made through the command line, as an operator makes them."""

    acme: Key
    project: str
    fenced: Key
    walled: Key
    other_project: str
    viewer: Key


@pytest.fixture(scope="session")
def tenants(installation: Installation) -> Tenants:
    cli = installation.phimage

    def account(name: str, *options: str) -> dict[str, str]:
        made: dict[str, str] = cli.json("account", "add", name, *options)
        return made

    acme, fenced = account("acme", "--company", "Acme Ltd"), account("fenced", "--zone", "cn-bj2-02")
    walled = account("walled", "--network", "192.0.2.0/24")
    cli.well("user", "add", "alice", "--account", "acme")
    cli.well("project", "member", acme["ProjectId"], "alice", "--account", "acme", "--role", "viewer")
    alice = cli.json("key", "create", "--account", "acme", "--user", "alice")
    return Tenants(
        acme=key_of(acme),
        project=acme["ProjectId"],
        fenced=key_of(fenced),
        walled=key_of(walled),
        other_project=fenced["ProjectId"],
        viewer=key_of(alice),
    )


def key_of(made: Mapping[str, str]) -> Key:
    return Key(made["PublicKey"], made["PrivateKey"])


Refused = Callable[..., tuple[int, str]]
"""Makes a call that must be refused: `refused(key, action, parameters, project_id=...)`; gives RetCode and Message."""


@pytest.fixture
def refused(installation: Installation, sdk: Sdk) -> Refused:
    def call(key: Key, action: str, parameters: Mapping[str, object], *, strip: str = "", **config: Any) -> tuple[int, str]:
        client = sdk(installation.url, key, region=None, **config)
        statuses: list[int] = []

        @client.transport.middleware.request  # type: ignore[untyped-decorator]  # the SDK has no types
        def change(request: Any) -> Any:
            request.data.pop(strip, None)
            return request

        @client.transport.middleware.response  # type: ignore[untyped-decorator]
        def note(response: Any) -> Any:
            statuses.append(response.status_code)
            return response

        with pytest.raises(exc.RetCodeException) as raised:
            client.invoke(action, dict(parameters))
        assert statuses == [200]
        assert raised.value.request_uuid
        assert not raised.value.retryable
        return raised.value.code, raised.value.message

    return call


def test_160_no_action_was_named(refused: Refused, tenants: Tenants) -> None:
    assert refused(tenants.acme, "", PLACE) == (160, "Missing Action")
    assert refused(tenants.acme, LIST, PLACE, strip="Action") == (160, "Missing Action")


def test_161_there_is_no_such_action(refused: Refused, tenants: Tenants) -> None:
    assert refused(tenants.acme, "DescribePHostImages", PLACE) == (161, "Action [DescribePHostImages] not found")
    assert refused(tenants.acme, "describephostimage", PLACE) == (161, "Action [describephostimage] not found")


@pytest.mark.parametrize("part", ["Signature", "PublicKey"])
def test_170_a_part_of_the_signature_is_missing(refused: Refused, tenants: Tenants, part: str) -> None:
    assert refused(tenants.acme, LIST, PLACE, strip=part) == (170, "Missing signature")


def test_171_the_signature_is_wrong(refused: Refused, tenants: Tenants) -> None:
    wrong = (171, "Signature VerifyAC Error")
    assert refused(Key(tenants.acme.public, "guessed"), LIST, PLACE) == wrong
    assert refused(Key(tenants.acme.public, tenants.fenced.private), LIST, PLACE) == wrong
    assert refused(tenants.acme, LIST, {**PLACE, "Limit": 5}, strip="Limit") == wrong


def test_172_there_is_no_such_key(refused: Refused, tenants: Tenants) -> None:
    nobody = Key("phimagenobody", tenants.acme.private)
    assert refused(nobody, LIST, PLACE) == (172, "User Not Exists")
    assert refused(nobody, "NoSuchAction", {}) == (172, "User Not Exists"), "who is unknown learns nothing of the Actions"


def test_174_there_are_no_temporary_keys(refused: Refused, tenants: Tenants) -> None:
    assert refused(tenants.acme, LIST, {**PLACE, "SecurityToken": "some_stoken"}) == (174, "Token Not Exists")


@pytest.mark.parametrize("missing", ["Region", "Zone"])
@pytest.mark.parametrize("blank", [True, False], ids=["blank", "absent"])
def test_220_names_the_parameter_that_is_missing(refused: Refused, tenants: Tenants, missing: str, blank: bool) -> None:
    asked = {name: value for name, value in PLACE.items() if name != missing} | ({missing: ""} if blank else {})
    assert refused(tenants.acme, LIST, asked) == (220, f"Missing params [{missing}]")


def test_220_comes_before_230_whatever_else_is_wrong(refused: Refused, tenants: Tenants) -> None:
    assert refused(tenants.acme, LIST, {"Region": "atlantis", "Limit": "many"}) == (220, "Missing params [Zone]")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("Region", "atlantis"),
        ("Zone", "cn-bj2-99"),
        ("Zone", "hk-02"),
        ("ImageType", "Business"),
        ("Offset", -1),
        ("Offset", "ten"),
        ("Limit", -1),
        ("Limit", "1e1"),
        ("Limit", "10.5"),
        ("Limit", 1001),
        ("Limit", 99_999_999_999_999_999_999),
        ("MachineType", "Base-SSD-V99"),
        ("MachineType", "Memory-256G-V4"),
        ("Cluster", "40G"),
        ("Cluster", "25g"),
    ],
)
def test_230_names_the_parameter_that_has_a_wrong_value(
    refused: Refused, tenants: Tenants, parameter: str, value: object
) -> None:
    assert refused(tenants.acme, LIST, {**PLACE, parameter: value}) == (230, f"Params [{parameter}] not available")


def test_240_names_the_list_that_is_too_long(refused: Refused, tenants: Tenants) -> None:
    ids = [f"pimg-cs-{number}" for number in range(101)]
    assert refused(tenants.acme, LIST, {**PLACE, "ImageId": ids}) == (240, "Params [ImageId] too large")


def test_292_there_is_no_such_project_in_the_account(refused: Refused, tenants: Tenants) -> None:
    unknown = refused(tenants.acme, LIST, PLACE, project_id="org-nowhere")
    assert unknown == (292, "Project [org-nowhere] not exists")
    foreign = refused(tenants.acme, LIST, PLACE, project_id=tenants.other_project)
    assert foreign == (292, f"Project [{tenants.other_project}] not exists")


def test_293_the_account_may_not_use_the_zone(refused: Refused, tenants: Tenants, installation: Installation, sdk: Sdk) -> None:
    elsewhere = {"Region": "cn-bj2", "Zone": "cn-bj2-05"}
    assert refused(tenants.fenced, LIST, elsewhere) == (293, "Zone [cn-bj2-05] not permitted")
    wrong_too = {**elsewhere, "Limit": -1}
    assert refused(tenants.fenced, LIST, wrong_too)[0] == 230, "the zone is the last of the checks"
    within = sdk(installation.url, tenants.fenced).uphost().describe_phost_image({"Zone": "cn-bj2-02"})
    assert within["TotalCount"] > 25


def test_294_the_account_may_not_be_used_from_here(refused: Refused, tenants: Tenants) -> None:
    assert refused(tenants.walled, LIST, PLACE) == (294, "IP not permitted")


def test_299_a_sub_user_must_name_a_project_of_its_own(
    refused: Refused, tenants: Tenants, installation: Installation, sdk: Sdk
) -> None:
    denied = (299, "IAM permission check failed")
    assert refused(tenants.viewer, LIST, PLACE) == denied
    second = installation.phimage.json("project", "add", "Second", "--account", "acme")["ProjectId"]
    assert refused(tenants.viewer, LIST, PLACE, project_id=second) == denied
    named = sdk(installation.url, tenants.viewer, project_id=tenants.project)
    assert named.uphost().describe_phost_image({"Zone": "cn-bj2-02"})["TotalCount"] > 25


def test_299_only_the_operator_may_change_the_catalogue(refused: Refused, tenants: Tenants) -> None:
    denied = (299, "IAM permission check failed")
    assert refused(tenants.acme, "ApplyCatalog", {"Catalog": "phimage: 1", "Prune": True}) == denied
    assert refused(tenants.acme, "CreateAccount", {"Account": "mine", "Operator": True}) == denied


@pytest.fixture
def pool() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as pool:
        yield pool


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"Action": "DescribePHostImage",'),
        ("application/json", b'["DescribePHostImage"]'),
        ("application/json", b'{"Action": NaN}'),
        ("application/x-www-form-urlencoded", b"Region=cn-bj2"),
        ("application/x-www-form-urlencoded", b"Action=&Region=cn-bj2"),
        ("application/x-www-form-urlencoded", b"Action=%ff"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("text/plain", b"hello"),
        ("", b""),
    ],
)
def test_160_a_body_that_cannot_be_read_names_no_action(
    installation: Installation, pool: urllib3.PoolManager, kind: str, body: bytes
) -> None:
    response = pool.request("POST", f"{installation.url}/", body=body, headers={"Content-Type": kind})
    answer = json.loads(response.data)
    assert (response.status, answer["RetCode"], answer["Message"]) == (200, 160, "Missing Action")
    assert "Action" not in answer


def test_a_parameter_that_comes_twice_is_refused_by_its_name(
    installation: Installation, tenants: Tenants, pool: urllib3.PoolManager
) -> None:
    body = {"Action": LIST, "PublicKey": tenants.acme.public, **PLACE}
    form = urlencode(body | {"Signature": sign(body, PrivateKey(tenants.acme.private))}) + "&Zone=cn-bj2-05"
    response = pool.request("POST", installation.url, body=form)
    answer = json.loads(response.data)
    assert (response.status, answer["RetCode"], answer["Message"]) == (200, 230, "Params [Zone] not available")


def test_every_answer_that_refuses_says_in_its_detail_what_would_do(
    installation: Installation, tenants: Tenants, pool: urllib3.PoolManager
) -> None:
    def detail(**parameters: str) -> str:
        body = {"Action": LIST, "PublicKey": tenants.acme.public, **PLACE, **parameters}
        body["Signature"] = sign(body, PrivateKey(tenants.acme.private))
        answer = json.loads(pool.request("POST", installation.url, fields=body, encode_multipart=False).data)
        text: str = answer["Detail"]
        return text

    assert "use Region=hk" in detail(Zone="hk-02")
    assert "cn-bj2-02" in detail(Zone="nowhere-01")
    assert "Base, Custom" in detail(ImageType="Business")
    assert "25G" in detail(Cluster="40G")
    assert "Base-SSD-V5" in detail(MachineType="Memory-256G-V4")
    assert "0 to 1000" in detail(Limit="1001")
