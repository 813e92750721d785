"""How requests are read and answers written: sections 1 and 2 and decisions B17 to B22 of the wire protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from phimage.actions import registry
from phimage.fields import fields_of
from tests.api import small
from tests.api.conftest import Start
from tests.api.gateway import Gateway
from tests.api.signer import DEMO, FORM, JSON, Encoding, Pair, Params, Request, encoded, sign, signed, signed_2
from tests.sites import Site

LIST = "DescribePHostImage"
ZONE: Params = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}
NORTH_A: Params = {"Region": "north", "Zone": "north-a"}
SMALL_BODY = 64 * 1024


def with_type(request: Request, content_type: str | None) -> Request:
    return request._replace(headers=() if content_type is None else (("Content-Type", content_type),))


def raw_json(text: str) -> Request:
    """A POST of JSON as it is written here."""
    return Request("POST", "/", "", (("Content-Type", JSON),), text.encode("utf-8", "surrogatepass"))


# methods and paths


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "get", "PROPFIND"])
def test_other_methods_are_405_and_say_what_is_allowed(gateway: Gateway, method: str) -> None:
    reply = gateway.replay(signed(LIST, ZONE)._replace(method=method))

    assert reply.status == 405
    assert reply.headers["allow"] == "GET, POST"
    assert reply.ret_code == 160


@pytest.mark.parametrize(
    "path", ["/", "", "/ok", "/ok/", "//", "/deep/er/path/", "/DescribePHostImage", "/镜像", "/a%2Fb", "/\udcff"]
)
def test_every_base_path_is_served_directly(gateway: Gateway, path: str) -> None:
    plain = gateway.ask(LIST, ZONE).body

    for encoding in Encoding:
        assert gateway.ask(LIST, ZONE, encoding=encoding, path=path).body == plain


OF_THE_ENDPOINT_FOR_TESTS = ["/ci/ready", "/ci/w/t1/journal", "/w/t1/", "/w/t1/fault/ret-153/", "/fault/ret-153:first=2/"]


@pytest.mark.parametrize("path", OF_THE_ENDPOINT_FOR_TESTS)
def test_worlds_faults_and_their_control_are_plain_base_paths_of_a_server(gateway: Gateway, path: str) -> None:
    plain = gateway.ask(LIST, ZONE)
    for encoding in Encoding:
        reply = gateway.ask(LIST, ZONE, encoding=encoding, path=path)
        assert reply.body == plain.body
        assert "x-phimage-fault" not in reply.headers


# which part of the request has the parameters (B19)


@pytest.mark.parametrize("content_type", [None, FORM, JSON, "text/plain"])
def test_a_post_with_an_empty_body_is_read_from_its_query(gateway: Gateway, content_type: str | None) -> None:
    query = signed(LIST, ZONE, Encoding.QUERY)._replace(method="POST")

    assert gateway.replay(with_type(query, content_type)).ret_code == 0


def test_a_get_is_read_from_its_query_and_its_body_is_not_read(gateway: Gateway) -> None:
    assert gateway.replay(signed(LIST, ZONE, Encoding.QUERY)._replace(body=b"Action=Evil")).ret_code == 0
    assert gateway.replay(signed(LIST, ZONE)._replace(method="GET")).ret_code == 160


def test_the_parameters_of_body_and_query_are_never_mixed(gateway: Gateway) -> None:
    body = encoded({"Action": LIST, "PublicKey": DEMO.public})
    query = signed(LIST, ZONE, Encoding.QUERY).query

    assert gateway.replay(body._replace(query=query)).ret_code == 170


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "text/plain", "application/octet-stream", "multipart/form-data; boundary=x", "*/*", "nonsense"),
        "application/problem+json",
    ],
)
def test_an_unknown_content_type_is_json_if_the_body_looks_like_it_and_else_a_form(
    gateway: Gateway, content_type: str | None
) -> None:
    assert gateway.replay(with_type(signed(LIST, ZONE), content_type)).ret_code == 0
    for encoding in (Encoding.FLAT, Encoding.NESTED):
        request = signed(LIST, ZONE, encoding)
        assert gateway.replay(with_type(request, content_type)).ret_code == 0
        assert gateway.replay(with_type(request._replace(body=b" \r\n\t" + request.body), content_type)).ret_code == 0


@pytest.mark.parametrize("content_type", [f"{JSON}; charset=utf-8", f"{JSON};charset=GBK", "Application/Json", f" {JSON} "])
def test_only_the_media_type_counts(gateway: Gateway, content_type: str) -> None:
    request = signed(LIST, {**ZONE, "Note": "镜像"}, Encoding.FLAT)

    assert gateway.replay(with_type(request, content_type)).ret_code == 0
    assert gateway.replay(with_type(signed(LIST, ZONE), f"{FORM}; charset=GBK")).ret_code == 0
    assert gateway.replay(with_type(request, FORM)).ret_code == 160


def test_headers_that_clients_send_beside_are_neither_needed_nor_read(gateway: Gateway) -> None:
    beside = [("Cookie", ""), ("Csrf-Token", ""), ("channel-key", "x"), ("U-Timestamp-Ms", "1"), ("Authorization", "Bearer x")]
    request = signed(LIST, ZONE)

    assert gateway.replay(request._replace(headers=(*request.headers, *beside))).body == gateway.replay(request).body
    assert gateway.replay(request._replace(headers=())).body == gateway.replay(request).body


# forms


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_plus_is_a_space_percent_is_utf_8_and_the_order_does_not_matter(gateway: Gateway, method: str) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "Note": "a b+c 镜像 %&=;", "Empty": ""}
    written = [
        f"Signature={sign(params, DEMO.private)}",
        "Note=a+b%2Bc%20%e9%95%9C%E5%83%8F+%25%26%3D;",
        f"PublicKey={DEMO.public}",  # not escaped
        "Empty=",
        "Zone=cn-bj2-02",
        f"Acti%6Fn={LIST}",
        "Region=cn-bj2",
    ]
    text = "&".join(written)

    sent = Request("GET", "/", text) if method == "GET" else with_type(Request(body=text.encode()), FORM)
    assert gateway.replay(sent).ret_code == 0


def test_a_form_and_a_query_may_have_utf_8_that_is_not_escaped(gateway: Gateway) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "Note": "镜像"}
    text = "&".join(f"{name}={value}" for name, value in {**params, "Signature": sign(params, DEMO.private)}.items()).encode()

    assert gateway.send("POST", headers=[("Content-Type", FORM)], body=text).ret_code == 0
    assert gateway.send("GET", query=text).ret_code == 0


def test_a_public_key_with_a_plus_that_is_not_escaped_is_another_key(gateway: Gateway) -> None:
    request = encoded({"Action": LIST, "PublicKey": "a+b", "Signature": "0" * 40})

    assert gateway.replay(request._replace(body=request.body.replace(b"%2B", b"+"))).message == "User Not Exists"


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"a=%ff", b"Action=%C3%28", b"Action=\xe9\x95", b"%zz=%zz&%=%", b"\x00", b"=&=&&&"]
)
@pytest.mark.parametrize("content_type", [None, FORM])
def test_a_form_that_cannot_be_read_is_a_missing_action(gateway: Gateway, body: bytes, content_type: str | None) -> None:
    reply = gateway.replay(with_type(Request(body=body), content_type))

    assert reply.ret_code in (160, 230)
    assert "Action" not in reply.fields


# JSON


NOT_JSON = [
    *("", "{", "[]", "null", "nul", '"Action"', "1", "{}}", '{"Action":}', "{'Action':'x'}", '{"Action":"x",}'),
    *(
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":01}',
        '{"a":.5}',
        '{"a":1e999999}',
        '{"a":-1e-401}',
        '{"a":1e400000000000000000000}',
    ),
    *('{"a":"\x01"}', '\ufeff{"Action":"x"}', '{"a":"\\ud800"}', '{"a":"\\x"}', "{" * 500, "[" * 60_000, '{"a":' * 10_000),
]


@pytest.mark.parametrize("text", NOT_JSON, ids=lambda text: text[:20])
def test_json_that_cannot_be_read_is_a_missing_action_or_too_large(gateway: Gateway, text: str) -> None:
    reply = gateway.replay(raw_json(text))

    assert reply.ret_code == (240 if len(text) > 9_000 else 160)
    assert "Action" not in reply.fields


def test_json_may_be_written_in_any_way(gateway: Gateway) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "Note": "a/b <镜像> & = \U0001f600 \u2028"}
    whole = {**params, "Signature": sign(params, DEMO.private)}
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in "Action")
    ways = [
        json.dumps(whole),
        json.dumps(whole, ensure_ascii=False),
        json.dumps(whole, indent=4),
        json.dumps(whole).replace("/", "\\/").replace("&", "\\u0026"),
        json.dumps(whole).replace('"Action"', f'"{escaped}"'),
        json.dumps(dict(reversed(whole.items()))),
    ]

    assert [gateway.replay(raw_json(way)).ret_code for way in ways] == [0] * len(ways)


@pytest.mark.parametrize("value", [["x"], {"a": "b"}, None, "", [], False], ids=str)
@pytest.mark.parametrize(("name", "code"), [("Action", 160), ("PublicKey", 170), ("Signature", 170)])
def test_the_three_that_every_request_has_must_be_text(gateway: Gateway, name: str, code: int, value: object) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "Signature": "0" * 40, name: value}

    assert gateway.replay(encoded(params, Encoding.NESTED)).ret_code == code


@pytest.mark.parametrize("name", ["acme2\n", "acme2\n\n", "\nacme2", "ac me", "acme\x00", ".acme", "艾克美"])
def test_a_name_of_a_fixed_form_cannot_have_a_line_end_or_anything_else_beside(small_gateway: Gateway, name: str) -> None:
    reply = small_gateway.ask(
        "CreateAccount", {"Account": name, "ZoneLimit": ["any"], "NetworkLimit": ["any"]}, pair=small.OPERATOR
    )

    assert (reply.ret_code, reply.message) == (230, "Params [Account] not available")


@pytest.mark.parametrize(
    ("action", "params", "name"),
    [
        (LIST, {**NORTH_A, "ImageId.0": "b-new\0"}, "ImageId"),
        (LIST, {**NORTH_A, "MachineType": "\0"}, "MachineType"),
        ("ExplainPHostImage", {**NORTH_A, "ImageId": "b\0"}, "ImageId"),
        ("CreateProject", {"Account": "acme", "ProjectName": "a\0b"}, "ProjectName"),
        ("ModifyAccount", {"Account": "acme", "Company": "\0"}, "Company"),
    ],
)
def test_a_nul_in_a_text_that_may_be_looked_up_or_kept_is_not_available(
    small_gateway: Gateway, action: str, params: Params, name: str
) -> None:
    pair = small.ACME if "Image" in action else small.OPERATOR
    for encoding in Encoding:
        reply = small_gateway.ask(action, params, pair=pair, encoding=encoding)
        assert (reply.ret_code, reply.message) == (230, f"Params [{name}] not available")


@pytest.mark.parametrize("action", ["ListRevisions", "ListPHostImageChanges"])
@pytest.mark.parametrize("value", [0, 2**31, 2**63 - 1, 2**63, 10**19 - 1])
@pytest.mark.parametrize("name", ["After", "Before"])
def test_a_number_of_any_size_is_answered(small_gateway: Gateway, action: str, name: str, value: int) -> None:
    pair = small.ACME if "Image" in action else small.OPERATOR

    assert small_gateway.ask(action, {name: value}, pair=pair).ret_code in (0, 230)


# names that come twice (B19)


@pytest.mark.parametrize("name", ["Zone", "Action", "Signature", "ImageId.0", "镜像"])
def test_a_name_that_comes_twice_is_not_available_in_any_encoding(gateway: Gateway, name: str) -> None:
    form = f"Action=x&Zone=a&{name}=1&{name}=1"
    text = f'{{"{name}":"1","{name}":"1"}}'
    requests = [Request("GET", "/", form), with_type(Request(body=form.encode()), FORM), raw_json(text)]
    requests = [request if request.method == "POST" or form.isascii() else request._replace(query="") for request in requests]

    for request in requests:
        if request.query or request.body:
            assert gateway.replay(request).message == f"Params [{name}] not available"


def test_a_name_that_comes_twice_inside_an_object_is_not_available(gateway: Gateway) -> None:
    assert gateway.replay(raw_json('{"Action":"x","Tags":[{"a":1,"a":2}]}')).message == "Params [a] not available"


def test_half_a_character_that_comes_twice_is_not_available(gateway: Gateway) -> None:
    assert gateway.replay(raw_json('{"Action":"x","\\ud800":1,"\\ud800":2}')).message == "Params [?] not available"


# signatures (B17, B20)


def test_upper_case_hex_is_refused(gateway: Gateway) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public}
    signature = sign(params, DEMO.private)

    for wrong in (signature.upper(), f" {signature}", f"{signature} ", signature[:-1], signature + "0", "镜像", "0"):
        assert gateway.replay(encoded({**params, "Signature": wrong})).message == "Signature VerifyAC Error"
    assert gateway.replay(encoded({**params, "Signature": signature})).ret_code == 0


def test_a_token_is_not_known_and_a_blank_one_is_none(gateway: Gateway) -> None:
    for encoding in Encoding:
        assert gateway.ask(LIST, {**ZONE, "SecurityToken": "some_stoken"}, encoding=encoding).message == "Token Not Exists"
        assert gateway.ask(LIST, {**ZONE, "SecurityToken": ""}, encoding=encoding).ret_code == 0


@pytest.mark.parametrize("missing", ["PublicKey", "Signature"])
@pytest.mark.parametrize("blank", [True, False])
def test_no_key_and_no_signature_are_a_missing_signature(gateway: Gateway, missing: str, blank: bool) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "Signature": "0" * 40}
    if blank:
        params[missing] = ""
    else:
        del params[missing]

    for encoding in Encoding:
        assert gateway.replay(encoded(params, encoding)).message == "Missing signature"


def test_the_wording_of_an_unknown_action_names_it(gateway: Gateway) -> None:
    assert gateway.ask("DescribeUHostInstance").message == "Action [DescribeUHostInstance] not found"
    assert gateway.ask("describephostimage").message == "Action [describephostimage] not found"
    assert gateway.ask("x" * 5000).ret_code == 161
    assert gateway.ask("镜像").fields["Action"] == "镜像Response"


# limits (B21)


def padded(request: Request, size: int) -> Request:
    """The same JSON request, with spaces up to a size."""
    return request._replace(body=request.body[:-1] + b" " * (size - len(request.body)) + request.body[-1:])


@pytest.mark.parametrize("encoding", [Encoding.FLAT, Encoding.NESTED])
def test_a_body_of_64_kib_is_read_and_one_byte_more_is_too_large(gateway: Gateway, encoding: Encoding) -> None:
    request = signed(LIST, ZONE, encoding)

    assert gateway.replay(padded(request, SMALL_BODY)).ret_code == 0
    assert gateway.replay(padded(request, SMALL_BODY + 1)).message == "Params [request] too large"


@pytest.mark.parametrize("size", [SMALL_BODY + 1, 1_000_000, 20_000_000])
@pytest.mark.parametrize("pieces", [1, 100])
def test_a_body_of_any_size_is_answered(gateway: Gateway, size: int, pieces: int) -> None:
    reply = gateway.send(headers=[("Content-Type", FORM)], body=b"x" * size, pieces=pieces)

    assert (reply.status, reply.ret_code) == (200, 240)


def test_a_large_body_is_read_only_for_an_action_that_may_have_it(small_gateway: Gateway) -> None:
    large = {**NORTH_A, "Note": "x" * 100_000}
    request = signed(LIST, large, Encoding.FLAT, small.ACME)

    assert small_gateway.replay(request).ret_code == 240
    assert small_gateway.replay(request._replace(query="Action=PlanCatalog")).ret_code == 240
    catalog = {"Catalog": "phimage: 1\n#" + "x" * 100_000}
    assert small_gateway.replay(signed_2("PlanCatalog", catalog, Encoding.FLAT, small.OPERATOR)).ret_code == 240
    plan = signed_2("PlanCatalog", catalog, Encoding.FLAT, small.OPERATOR, query="Action=PlanCatalog")
    assert small_gateway.replay(plan).ret_code == 0
    assert small_gateway.replay(plan._replace(body=plan.body.replace(b"xx#", b"xy#") + b" ")).ret_code == 171
    stranger = signed_2("PlanCatalog", catalog, Encoding.FLAT, Pair("key-nobody", "x"), query="Action=PlanCatalog")
    assert small_gateway.replay(stranger).ret_code == 172


@pytest.mark.parametrize("encoding", [Encoding.FORM, Encoding.QUERY, Encoding.FLAT, Encoding.NESTED])
@pytest.mark.parametrize(("count", "code"), [(512, 0), (513, 240), (2000, 240)])
def test_a_request_has_512_parameters_at_most(gateway: Gateway, encoding: Encoding, count: int, code: int) -> None:
    own = len(("Action", "PublicKey", "Signature", *ZONE))
    reply = gateway.ask(LIST, {**ZONE, **{f"x{number}": "" for number in range(count - own)}}, encoding=encoding)

    assert reply.ret_code == code
    if code:
        assert reply.message == "Params [request] too large"


@pytest.mark.parametrize(("depth", "code"), [(30, 0), (40, 240)])
def test_json_may_be_nested_as_deeply_as_any_client_nests(gateway: Gateway, depth: int, code: int) -> None:
    value: object = "x"
    for _ in range(depth):
        value = [value]

    assert gateway.ask(LIST, {**ZONE, "Deep": value}, encoding=Encoding.NESTED).ret_code == code


# answers


def test_an_answer_is_packed_only_for_who_asks_and_when_it_pays(gateway: Gateway) -> None:
    request = signed(LIST, {**ZONE, "Limit": 1000})
    plain = gateway.replay(request)

    assert "content-encoding" not in plain.headers
    assert len(plain.content) > 16 * 1024
    for asks in ("gzip", "gzip, deflate", "deflate,gzip;q=0.5", "GZIP", "identity;q=0.1, gzip ; q=1"):
        packed = gateway.replay(request._replace(headers=(*request.headers, ("Accept-Encoding", asks))))
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.headers["vary"] == "accept-encoding"
        assert packed.body == plain.body
        assert len(packed.content) < len(plain.content) / 2
    for refuses in ("", "identity", "deflate", "gzip;q=0", "gzip; q=0.0, identity", "br", "x-not-gzip"):
        reply = gateway.replay(request._replace(headers=(*request.headers, ("Accept-Encoding", refuses))))
        assert reply.content == plain.content, refuses
    small_one = gateway.ask("GetUserInfo")
    assert "content-encoding" not in small_one.headers


def test_every_answer_has_its_own_request_id(gateway: Gateway) -> None:
    replies = [
        gateway.ask(LIST, ZONE),
        gateway.ask("No"),
        gateway.send("PUT"),
        gateway.send(body=b"x" * 70_000),
        gateway.send(),
    ]

    assert len({reply.headers["x-ucloud-request-uuid"] for reply in replies}) == len(replies)


def test_descriptions_and_files_are_the_only_texts_with_several_lines() -> None:
    found = {
        (action.name, field.name): field.type.controls
        for action in registry()
        for field in fields_of(action.request, registry().settings)
        if field.type.innermost.controls != "none"
    }

    assert found == {
        ("PublishPHostImage", "Description"): "lines",
        ("UpdatePHostImage", "Description"): "lines",
        ("ModifyPHostImageInfo", "Remark"): "lines",
        ("CreatePHostImage", "ImageDescription"): "lines",
        ("PlanCatalog", "Catalog"): "any",
        ("ApplyCatalog", "Catalog"): "any",
    }


@pytest.mark.parametrize("bad", ["\x1b[31m", "\x9b", "\u202e", "\n"])
def test_a_name_with_a_control_character_is_refused_by_its_parameter(gateway: Gateway, bad: str) -> None:
    operator = gateway.ask("CreateAccount", {"Account": "acme", "Company": f"a{bad}"})
    tenant = gateway.ask(LIST, {**ZONE, "Cluster": f"a{bad}"})

    assert operator.ret_code == 299  # no key of the operator: the rights come first
    assert (tenant.ret_code, tenant.message) == (230, "Params [Cluster] not available")
    assert f"U+{ord(bad[0]):04X}" in tenant.fields["Detail"]


def test_no_answer_may_be_taken_for_another_kind_of_document(gateway: Gateway) -> None:
    replies = [
        gateway.ask(LIST, ZONE),
        gateway.ask("No"),
        gateway.send("PUT"),
        gateway.send(body=b"x" * 70_000),
        gateway.send("GET", "/healthz"),
        gateway.send("GET", "/openapi.json"),
    ]
    found: list[Mapping[str, str]] = [reply.headers for reply in replies]
    found += [gateway.fetch("GET", path).headers for path in ("/metrics", "/images/x", "/images/pimg-a.raw", "/uploads/x")]

    assert [fields.get("x-content-type-options") for fields in found] == ["nosniff"] * len(found)


def test_a_page_of_the_edge_is_json_as_well(gateway: Gateway) -> None:
    assert gateway.send("GET", "/healthz").fields == {"status": "ok"}
    assert gateway.send("POST", "/healthz").ret_code == 160


# the caller's address (294), behind a proxy and without one


@pytest.mark.parametrize("forwarded", ["192.0.2.7", "192.0.2.7, 10.0.0.1", "for=192.0.2.7"])
def test_without_a_trusted_proxy_the_forwarded_address_is_not_believed(small_gateway: Gateway, forwarded: str) -> None:
    request = signed(LIST, NORTH_A, pair=small.FENCED)
    headers = (*request.headers, ("X-Forwarded-For", forwarded))

    assert small_gateway.replay(request._replace(headers=headers), client=small.OUTSIDE).ret_code == 294
    assert small_gateway.replay(request._replace(headers=headers), client=small.INSIDE).ret_code == 0


@pytest.mark.parametrize(
    ("peer", "forwarded", "code"),
    [
        ("10.0.0.1", "192.0.2.7", 0),
        ("10.0.0.1", "198.51.100.1, 192.0.2.7", 0),
        ("10.0.0.1", "192.0.2.7, 198.51.100.1", 294),  # the first was written by the caller
        ("10.0.0.1", "192.0.2.7, 10.0.0.2", 0),
        ("10.0.0.1", "2001:db8::7", 0),
        ("fd00::1", "192.0.2.7", 0),
        ("10.0.0.1", "", 294),
        ("10.0.0.1", "192.0.2.7,", 294),
        ("10.0.0.1", "nonsense", 294),
        ("192.0.2.7", "198.51.100.1", 0),  # not a proxy: its own address counts
        ("198.51.100.1", "192.0.2.7", 294),
    ],
)
def test_behind_a_trusted_proxy_the_last_address_that_is_not_a_proxy_counts(
    start: Start, small_site: Site, peer: str, forwarded: str, code: int
) -> None:
    gateway = start(small_site, trusted_proxies=("10.0.0.0/8", "fd00::/8"))
    request = signed(LIST, NORTH_A, pair=small.FENCED)
    headers = (*request.headers, ("X-Forwarded-For", forwarded))

    assert gateway.replay(request._replace(headers=headers), client=peer).ret_code == code


def test_a_visitor_is_told_what_this_is(gateway: Gateway) -> None:
    reply = gateway.send("GET", "/")

    assert (reply.ret_code, reply.message) == (160, "Missing Action")
    assert "this is phimage" in reply.fields["Detail"]
    assert "/openapi.json" in reply.fields["Detail"]
