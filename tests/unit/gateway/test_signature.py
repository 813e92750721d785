"""The signature, against every published or recorded one (wire-protocol 2.6), and rule by rule (2.1 to 2.3).

Three rows of that table are not here, because their input is not in it: GO TestSign, UIoT, and the one that says NO.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from phimage.gateway.params import Number, Value, read_params
from phimage.gateway.signature import canonical, canonical_value, sign, verify
from phimage.model.account import PrivateKey
from tests.examples import PRIVATE_KEY, PUBLIC_KEY

KEY = PrivateKey(PRIVATE_KEY)

CREATE_HOST = {
    "Action": "CreateUHostInstance",
    "CPU": "2",
    "ChargeType": "Month",
    "DiskSpace": "10",
    "ImageId": "f43736e1-65a5-4bea-ad2e-8a46e18883c2",
    "LoginMode": "Password",
    "Memory": "2048",
    "Name": "Host01",
    "Password": "VUNsb3VkLmNu",
    "Quantity": "1",
    "Region": "cn-bj2",
    "Zone": "cn-bj2-04",
}
LONG_ARRAY = {"Action": "AllocateBackendBatch", **{f"Backends.{n}": ("foo", "bar", "42")[n % 3] for n in range(12)}}

PUBLISHED = [
    pytest.param(
        {"Action": "DescribeUHostInstance", "Region": "cn-bj2", "Limit": "10"},
        "cba5cf5ec4d4233d206b1b54951e3787350a642f",
        id="documentation",
    ),
    pytest.param(CREATE_HOST, "4f9ef5df2abab2c6fccd1e9515cb7e2df8c6bb65", id="CreateUHostInstance"),
    pytest.param(
        {**CREATE_HOST, "SecurityToken": "some_stoken"}, "170c480ad176a247b324eb92a2cfe536aacfbd04", id="GO with a token"
    ),
    pytest.param(LONG_ARRAY, "6bc32642779f8cb0bb3d3f128b1c0688abf9a1a3", id="GO long array"),
    pytest.param(
        {"Action": "DescribeUHostInstance", "Region": "cn-bj2", "Proportion": "35"},
        "da620b97de476947302291fc93a2d8b0710be328",
        id="JV 35.0",
    ),
    pytest.param(
        {"Action": "DescribeUHostInstance", "Region": "cn-bj2", "Proportion": "65.722"},
        "5e39dd48144d6a075328e56a6c5e9df6c39ae939",
        id="JV 65.722",
    ),
]


@pytest.mark.parametrize(("params", "signature"), PUBLISHED)
def test_a_published_signature_is_reproduced(params: Mapping[str, str], signature: str) -> None:
    assert sign({**params, "PublicKey": PUBLIC_KEY}, KEY) == signature


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        ({"foo": "bar"}, "634edc1bb957c0d65e5ab5494cf3b7784fbc87af"),
        ({"foo": "bar", "PublicKey": "my_public_key"}, "d4411ab30953fb0bbcb1e7313081f05e4e91a394"),
    ],
)
def test_the_signatures_of_the_python_sdks_own_examples_are_reproduced(params: Mapping[str, str], signature: str) -> None:
    assert sign(params, PrivateKey("my_private_key")) == signature


@pytest.mark.parametrize("number", ["35.0", "35", "35.00", "3.5e1", "350e-1"])
def test_the_java_example_is_reproduced_from_its_json_body(number: str) -> None:
    body = f'{{"Action":"DescribeUHostInstance","PublicKey":"{PUBLIC_KEY}","Region":"cn-bj2","Proportion":{number}}}'

    params = read_params("POST", "application/json", "", body.encode())

    assert sign(params, KEY) == "da620b97de476947302291fc93a2d8b0710be328"


# V1 to V8: DescribePHostImage as clients sent it

BASE = {"Action": "DescribePHostImage", "PublicKey": PUBLIC_KEY, "Region": "cn-bj2", "Zone": "cn-bj2-02"}
V2B = {
    **BASE,
    "ImageType": "Base",
    "ImageId.0": "pimg-a",
    "ImageId.1": "pimg-b",
    "Offset": "5",
    "Limit": "0",
    "MachineType": "DB-2",
    "Cluster": "10G",
}
START = "ActionDescribePHostImage"
END = f"PublicKey{PUBLIC_KEY}Regioncn-bj2Zonecn-bj2-02"

TEXTS = [
    pytest.param(BASE, START + END, "e187dacf2b9e016f815e7c9c2d365d3104c34a1d", id="V1"),
    pytest.param(
        {**V2B, "ProjectId": "org-xyz"},
        f"{START}Cluster10GImageId.0pimg-aImageId.1pimg-bImageTypeBaseLimit0MachineTypeDB-2Offset5ProjectIdorg-xyz{END}",
        "1656c62bafbbf3a0eab698ae11b44d43cef73cb6",
        id="V2",
    ),
    pytest.param(
        V2B,
        f"{START}Cluster10GImageId.0pimg-aImageId.1pimg-bImageTypeBaseLimit0MachineTypeDB-2Offset5{END}",
        "d553c61f16380bd947a6abde0d529596e1d6939b",
        id="V2b",
    ),
    pytest.param(
        {**BASE, "Zone": "", "ImageType": "", "Limit": "7"},
        f"{START}ImageTypeLimit7PublicKey{PUBLIC_KEY}Regioncn-bj2Zone",
        "1043876c3f3b7f4587e527ff5c322a3814f85779",
        id="V3",
    ),
    pytest.param(
        {**BASE, "ImageId.0": "镜像 +&=/%~*"},
        f"{START}ImageId.0镜像 +&=/%~*{END}",
        "a21378ccb31923a91185c1fdd2967c7b15847e6a",
        id="V4",
    ),
    pytest.param(
        {**BASE, **{f"ImageId.{n}": f"i{n}" for n in range(12)}},
        START + "".join(f"ImageId.{n}i{n}" for n in (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)) + END,
        "204fb594ad05edbded1ee999e62a06d57f2a2433",
        id="V5",
    ),
    pytest.param(
        {**BASE, "SecurityToken": "some_stoken"},
        f"{START}PublicKey{PUBLIC_KEY}Regioncn-bj2SecurityTokensome_stokenZonecn-bj2-02",
        "5a7bf07ca9df55dc26d8d559f07816860051343e",
        id="V8",
    ),
]


@pytest.mark.parametrize(("params", "text", "signature"), TEXTS)
def test_a_recorded_signature_is_reproduced(params: Mapping[str, str], text: str, signature: str) -> None:
    assert canonical(params) == text
    assert sign(params, KEY) == signature
    assert verify({**params, "Signature": signature}, signature, KEY)


@pytest.mark.parametrize(("params", "text", "signature"), TEXTS)
@pytest.mark.parametrize("encoding", ["form", "query", "json", "json with escapes"])
def test_a_recorded_signature_is_the_same_in_every_encoding(
    params: Mapping[str, str], text: str, signature: str, encoding: str
) -> None:
    sent = {**params, "Signature": signature}
    if encoding == "form":
        read = read_params("POST", "application/x-www-form-urlencoded", "", urlencode(sent).encode())
    elif encoding == "query":
        read = read_params("GET", "", urlencode(sent), b"")
    else:
        body = json.dumps(sent, ensure_ascii=encoding == "json with escapes").encode()
        read = read_params("POST", "application/json", "", body)

    assert canonical(read) == text
    assert verify(read, signature, KEY)


def test_v2_as_javascript_sends_it_has_native_numbers() -> None:
    body = json.dumps({**V2B, "Offset": 5, "Limit": 0}).encode()

    assert verify(read_params("POST", "application/json", "", body), "d553c61f16380bd947a6abde0d529596e1d6939b", KEY)


@pytest.mark.parametrize(
    ("extra", "text", "signature"),
    [
        pytest.param(
            '"ImageId":["pimg-a","pimg-b"],"Limit":10',
            f"{START}ImageIdpimg-apimg-bLimit10{END}",
            "90ea3542fe321f00044cd3326d09f09b185e3f08",
            id="V6",
        ),
        pytest.param('"ImageId":null', f"{START}ImageId{END}", "a3d8957acc49e7a7bd3a15159f2ca5b2ea31cdff", id="V7"),
    ],
)
def test_a_recorded_signature_of_a_json_body_is_reproduced(extra: str, text: str, signature: str) -> None:
    body = json.dumps(BASE)[:-1] + f',{extra},"Signature":"{signature}"}}'

    params = read_params("POST", "application/json", "Action=DescribePHostImage", body.encode())

    assert canonical(params) == text
    assert verify(params, signature, KEY)


# the rules


def test_the_signature_itself_is_not_signed() -> None:
    assert canonical({"a": "1", "Signature": "x"}) == "a1"
    assert canonical({"a": "1", "signature": "x"}) == "a1signaturex"


def test_unknown_parameters_are_signed() -> None:
    assert canonical({"base-url": "http://127.0.0.1", "Zone": "z"}) == "Zonezbase-urlhttp://127.0.0.1"


def test_names_are_sorted_by_code_point() -> None:
    names = ["b", "a", "B", "A", "a.b", "a.10", "a.2", "a1", "名", "\U0001f600", "\uffff"]

    assert canonical(dict.fromkeys(names, "")) == "ABaa.10a.2a.ba1b名\uffff\U0001f600"


def test_blank_values_count() -> None:
    assert canonical({"Zone": "", "Region": "r"}) == "RegionrZone"


def test_text_is_signed_verbatim() -> None:
    assert canonical({"a": " 35.0 ", "b": "1e3", "c": "TRUE"}) == "a 35.0 b1e3cTRUE"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (None, ""),
        ("", ""),
        ([], ""),
        ({}, ""),
        (Number("10"), "10"),
        (["a", "b"], "ab"),
        (["b", "a", ["d", "c"]], "badc"),
        ({"b": "2", "a": "1"}, "a1b2"),
        ([{"b": None, "a": True}, {"c": [Number("0.5")]}], "atruebc0.5"),
        ({"10": "x", "2": {"z": [], "y": "w"}}, "10x2ywz"),
    ],
)
def test_a_json_value_is_signed_as_text(value: Value, text: str) -> None:
    assert canonical_value(value) == text


def test_the_private_key_comes_last_and_the_hash_is_over_utf8() -> None:
    assert sign({"é": "镜像"}, PrivateKey("钥")) == hashlib.sha1(b"\xc3\xa9\xe9\x95\x9c\xe5\x83\x8f\xe9\x92\xa5").hexdigest()


@pytest.mark.parametrize(
    "given",
    [
        "E187DACF2B9E016F815E7C9C2D365D3104C34A1D",
        " e187dacf2b9e016f815e7c9c2d365d3104c34a1d",
        "e187dacf2b9e016f815e7c9c2d365d3104c34a1",
        "e187dacf2b9e016f815e7c9c2d365d3104c34a1d0",
        "e187dacf2b9e016f815e7c9c2d365d3104c34a1\uff44",
        "镜",
        "",
    ],
)
def test_anything_but_the_forty_lower_case_digits_is_refused(given: str) -> None:
    assert verify(BASE, "e187dacf2b9e016f815e7c9c2d365d3104c34a1d", KEY)
    assert not verify(BASE, given, KEY)


def test_another_key_gives_another_signature() -> None:
    assert not verify(BASE, sign(BASE, KEY), PrivateKey(PRIVATE_KEY[:-1]))
