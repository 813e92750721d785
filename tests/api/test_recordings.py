"""What each client really sends, answered: recordings byte for byte, on every base path (wire-protocol 1.1, Appendix A)."""

from __future__ import annotations

import logging
import uuid
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests
from ucloud.client import Client as Sdk
from ucloud.core import exc
from ucloud.core.transport import http

from tests.api.decoders import CLIENTS
from tests.api.gateway import Gateway, strict_object
from tests.api.recording import recordings
from tests.api.signer import DEMO, FORM, Params, Request, sign

RECORDINGS = recordings()
PATHS = ["/", "/ok", "/ok/", "/cli"]

NOT_GOOD = {
    "cli-bearer": 170,  # never 174, which sends the CLI to another site
    "docs-sample": 161,  # the signature is right, the Action is of another product
    "go-form-token": 174,
}
WITHOUT_ZONE = ["go-form-without-zone", "py-invoke-blanks", "tf-base-without-zone", "tf-custom-without-zone"]

VECTORS = {
    "V1": (
        "e187dacf2b9e016f815e7c9c2d365d3104c34a1d",
        ["py-typed-plain", "go-form-plain", "js-plain", "jv-plain", "php-plain"],
    ),
    "V2": ("1656c62bafbbf3a0eab698ae11b44d43cef73cb6", ["py-invoke-everything", "js-project"]),
    "V2b": ("d553c61f16380bd947a6abde0d529596e1d6939b", ["go-form-everything", "js-everything"]),
    "V3": ("1043876c3f3b7f4587e527ff5c322a3814f85779", ["py-invoke-blanks"]),
    "V4": ("a21378ccb31923a91185c1fdd2967c7b15847e6a", ["py-invoke-signs", "js-signs", "jv-signs", "php-signs"]),
    "V5": ("204fb594ad05edbded1ee999e62a06d57f2a2433", ["py-invoke-twelve-ids", "js-twelve-ids"]),
    "V6": ("90ea3542fe321f00044cd3326d09f09b185e3f08", ["go-json-list"]),
    "V7": ("a3d8957acc49e7a7bd3a15159f2ca5b2ea31cdff", ["go-json-null"]),
    "V8": ("5a7bf07ca9df55dc26d8d559f07816860051343e", ["go-form-token"]),
    "A2": ("959708a942b332634847acbc4ce6117a827b3265", ["go-form-without-zone"]),
    "sample of the docs": ("cba5cf5ec4d4233d206b1b54951e3787350a642f", ["docs-sample"]),
}


def params_of(request: Request) -> dict[str, Any]:
    """What a recording says, read without phimage."""
    if request.body.startswith(b"{"):
        found: dict[str, Any] = strict_object(request.body)
        return found
    return dict(parse_qsl(request.body.decode() if request.method == "POST" else request.query, keep_blank_values=True))


def expected(name: str, *, require_zone: bool) -> int:
    if name in WITHOUT_ZONE:
        return 220 if require_zone else 0
    return NOT_GOOD.get(name, 0)


@pytest.fixture(params=[name for name in RECORDINGS if name != "cli-bearer"])
def signed_name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def test_a_recording_is_signed_with_the_sample_key_over_its_body_alone(signed_name: str) -> None:
    params = params_of(RECORDINGS[signed_name])

    assert params["PublicKey"] == DEMO.public
    assert params["Signature"] == sign(params, DEMO.private)


@pytest.mark.parametrize(("signature", "names"), VECTORS.values(), ids=VECTORS)
def test_the_published_signatures_are_used_as_they_are(signature: str, names: list[str]) -> None:
    assert [params_of(RECORDINGS[name])["Signature"] for name in names] == [signature] * len(names)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_says_how_long_its_body_is(name: str) -> None:
    request = RECORDINGS[name]

    assert dict(request.headers).get("Content-Length", "0") == str(len(request.body))


@pytest.mark.parametrize("require_zone", [True, False], ids=["strict", "lenient"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_answered_and_the_client_decodes_the_answer(
    gateway: Gateway, lenient: Gateway, name: str, path: str, require_zone: bool
) -> None:
    request = RECORDINGS[name]._replace(path=path)
    reply = (gateway if require_zone else lenient).replay(request)

    assert reply.ret_code == expected(name, require_zone=require_zone)
    if reply.ret_code == 0:
        client = {"CLI": "GO", "CS": "JS"}.get(name.partition("-")[0].upper(), name.partition("-")[0].upper())
        action = str(params_of(request)["Action"])
        assert reply.fields["Action"] == f"{action}Response"
        CLIENTS[client].decode(action, reply.fields)


@pytest.mark.parametrize("name", WITHOUT_ZONE)
def test_a_list_without_a_zone_is_told_which_parameter_is_missing(gateway: Gateway, name: str) -> None:
    assert gateway.replay(RECORDINGS[name]).message == "Missing params [Zone]"


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_body_that_comes_in_many_pieces_is_answered_the_same(gateway: Gateway, name: str) -> None:
    request = RECORDINGS[name]

    assert gateway.send(*request, pieces=50).body == gateway.replay(request).body


def test_each_encoding_of_the_same_request_gets_the_same_answer(gateway: Gateway) -> None:
    same = ["py-typed-plain", "go-form-plain", "go-json-null", "js-plain", "jv-plain", "php-plain", "cs-plain"]
    answers = {gateway.replay(RECORDINGS[name]).body for name in same}

    assert len(answers) == 1
    assert strict_object(answers.pop())["TotalCount"] > 20


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("go-form-holes", ["pimg-ub-ns6ntq", "pimg-cs-p4dzup"]),
        ("cli-api", ["pimg-cs-p4dzup"]),
        ("cli-api-scalar", ["pimg-cs-p4dzup"]),
        ("py-typed-list", ["pimg-cs-p4dzup"]),
        ("py-typed-string-as-list", []),
        ("js-everything", []),
        ("jv-signs", []),
    ],
)
def test_the_ids_that_a_client_asks_for_are_understood(gateway: Gateway, name: str, found: list[str]) -> None:
    assert gateway.replay(RECORDINGS[name]).ids == found


@pytest.mark.parametrize("name", ["go-form-plain", "go-json-list", "cli-api", "tf-custom"])
def test_the_query_of_a_post_with_a_body_is_not_read(gateway: Gateway, name: str) -> None:
    request = RECORDINGS[name]
    evil = request._replace(query="foo=bar&Action=Evil&Limit=0&Signature=no")

    assert gateway.replay(evil).body == gateway.replay(request).body


def test_a_changed_letter_of_a_signed_recording_is_refused(gateway: Gateway) -> None:
    for name in ("py-typed-plain", "go-json-list", "js-plain", "jv-signs", "php-plain"):
        request = RECORDINGS[name]
        assert gateway.replay(request._replace(body=request.body.replace(b"cn-bj2-02", b"cn-bj2-03"))).ret_code == 171


# the official SDK for Python, run here


class InProcess(http.Transport):  # type: ignore[misc]
    """Carries the SDK's requests to the gateway, as the bytes that `requests` would have sent."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.sent: list[Request] = []

    def send(self, req: http.Request, **options: object) -> http.Response:
        with requests.Session() as session:
            made = session.prepare_request(requests.Request(req.method.upper(), req.url, data=req.data, headers=req.headers))
        body = made.body.encode() if isinstance(made.body, str) else bytes(made.body or b"")
        self.sent.append(Request(made.method or "", made.path_url, "", tuple(made.headers.items()), body))
        reply = self.gateway.replay(self.sent[-1])
        headers = requests.structures.CaseInsensitiveDict(reply.headers)
        return http.Response(req.url, req.method, req, reply.status, "", headers, reply.body)


@pytest.fixture
def transport(gateway: Gateway) -> InProcess:
    logging.getLogger("ucloud").setLevel(logging.CRITICAL)
    return InProcess(gateway)


def sdk(transport: InProcess, **config: str) -> Sdk:
    config = {"region": "cn-bj2", "public_key": DEMO.public, "private_key": DEMO.private, **config}
    return Sdk({"base_url": "http://127.0.0.1:8080/ok", **config}, transport=transport)


@pytest.mark.parametrize(
    ("name", "args", "config"),
    [
        ("py-typed-plain", {"Zone": "cn-bj2-02"}, {}),
        (
            "py-typed-list",
            {
                "Zone": "cn-bj2-02",
                "ImageId": ["pimg-cs-p4dzup", "pimg-b"],
                "Limit": 7,
                "Offset": 0,
                "MachineType": "DB-2",
                "ImageType": "Base",
            },
            {"project_id": "org-default"},
        ),
        ("py-typed-string-as-list", {"Zone": "cn-bj2-02", "ImageId": "pimg-a"}, {}),
        ("py-invoke-blanks", {"Zone": "", "ImageType": "", "Limit": 7}, {}),
        ("py-invoke-signs", {"Zone": "cn-bj2-02", "ImageId": ["镜像 +&=/%~*"]}, {}),
        ("py-invoke-twelve-ids", {"Zone": "cn-bj2-02", "ImageId": [f"i{number}" for number in range(12)]}, {}),
    ],
)
def test_the_real_python_sdk_sends_what_was_recorded(
    transport: InProcess, name: str, args: Params, config: dict[str, str]
) -> None:
    client = sdk(transport, **config)
    try:
        if name.startswith("py-typed"):
            client.uphost().describe_phost_image(dict(args))
        else:
            client.invoke("DescribePHostImage", dict(args))
    except exc.RetCodeException as error:
        assert error.code == expected(name, require_zone=True)  # noqa: PT017 - some are answered and some refused
    sent, recorded = transport.sent[0], RECORDINGS[name]

    assert (sent.method, sent.path, sent.body) == (recorded.method, recorded.path, recorded.body)
    assert dict(sent.headers)["Content-Type"] == FORM


def test_the_real_python_sdk_calls_every_action_that_it_has(transport: InProcess) -> None:
    client = sdk(transport, project_id="org-default")

    images = client.uphost().describe_phost_image({"Zone": "cn-bj2-02", "Limit": 100})
    assert images["TotalCount"] == len(images["ImageSet"]) > 20
    assert client.uphost().describe_phost_machine_type({"Zone": "cn-bj2-02"})["MachineTypes"]
    assert client.uphost().describe_baremetal_machine_type({"Zone": "cn-bj2-02"})["MachineTypes"]
    assert client.uaccount().get_region({})["Regions"]
    assert [project["ProjectId"] for project in client.uaccount().get_project_list({})["ProjectSet"]] == [
        "org-default",
        "org-xyz",
    ]
    assert len(client.uaccount().get_user_info({})["DataSet"]) == 1


@pytest.mark.parametrize(
    ("config", "args", "code", "message"),
    [
        ({"private_key": "wrong"}, {"Zone": "cn-bj2-02"}, 171, "Signature VerifyAC Error"),
        ({"public_key": "nobody"}, {"Zone": "cn-bj2-02"}, 172, "User Not Exists"),
        ({}, {"Zone": "cn-bj9-99"}, 230, "Params [Zone] not available"),
        ({"project_id": "org-no"}, {"Zone": "cn-bj2-02"}, 292, "Project [org-no] not exists"),
    ],
)
def test_the_real_python_sdk_shows_our_errors_with_their_request_id(
    transport: InProcess, config: dict[str, str], args: Params, code: int, message: str
) -> None:
    with pytest.raises(exc.RetCodeException) as caught:
        sdk(transport, **config).uphost().describe_phost_image(dict(args))

    assert (caught.value.code, caught.value.message) == (code, message)
    assert uuid.UUID(caught.value.request_uuid).version == 4
    assert not caught.value.retryable
    assert len(transport.sent) == 1
