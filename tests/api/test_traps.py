"""The trap index of the wire protocol (section 8): one test for each, by its number."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from phimage.actions import registry
from phimage.errors import REQUEST_ERRORS
from phimage.gateway.decode import readers_of
from tests.api import small
from tests.api.conftest import Start
from tests.api.decoders import CLIENTS
from tests.api.gateway import Gateway, Reply
from tests.api.recording import recordings
from tests.api.signer import DEMO, FORM, JSON, Encoding, Params, Request, encoded, sign, signed, signed_2
from tests.sites import Site

LIST = "DescribePHostImage"
ZONE: Params = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}
WHOLE: Params = {**ZONE, "Limit": 1000}
RECORDINGS = recordings()


def test_t01_create_time_is_a_string_of_digits(gateway: Gateway) -> None:
    reply = gateway.ask(LIST, WHOLE)
    written = re.findall(rb'"CreateTime":([^,}]*)', reply.body)

    assert len(written) == reply.total > 20
    assert all(re.fullmatch(rb'"[0-9]+"', value) for value in written)


def test_t02_image_size_and_total_count_are_bare_integers(gateway: Gateway) -> None:
    reply = gateway.ask(LIST, WHOLE)
    sizes = re.findall(rb'"ImageSize":([^,}]*)', reply.body)

    assert len(sizes) == reply.total > 20
    assert all(re.fullmatch(rb"[0-9]+", value) for value in sizes)
    assert re.findall(rb'"TotalCount":([^,}]*)', reply.body) == [b"%d" % reply.total]


def test_t03_errors_are_http_200_with_a_ret_code_below_2000(gateway: Gateway) -> None:
    replies = _errors(gateway)

    assert {code: reply.ret_code for code, reply in replies.items()} == {code: code for code in replies}
    assert {reply.status for reply in replies.values()} == {200}
    assert all(0 < kind.ret_code < 2000 for kind in REQUEST_ERRORS)


def _errors(gateway: Gateway) -> dict[int, Reply]:
    good = signed(LIST, ZONE)
    return {
        160: gateway.send(body=b"", headers=good.headers),
        161: gateway.ask("NoSuchAction", ZONE),
        170: gateway.replay(encoded({"Action": LIST})),
        171: gateway.replay(good._replace(body=good.body + b"&x=1")),
        172: gateway.replay(encoded({"Action": LIST, "PublicKey": "nobody", "Signature": "0" * 40})),
        174: gateway.ask(LIST, {**ZONE, "SecurityToken": "some_stoken"}),
        220: gateway.ask(LIST, {"Region": "cn-bj2"}),
        230: gateway.ask(LIST, {**ZONE, "Limit": "many"}),
        240: gateway.ask(LIST, {**ZONE, "ImageId": ["i"] * 101}),
        292: gateway.ask(LIST, {**ZONE, "ProjectId": "org-no"}),
        299: gateway.ask("ListAccounts"),
    }


def test_t04_a_request_that_is_sent_four_times_is_answered_four_times_alike(
    gateway: Gateway, start: Start, small_site: Site
) -> None:
    for request in (signed(LIST, ZONE), signed(LIST, {**ZONE, "Limit": "many"}), encoded({"Action": LIST})):
        assert len({gateway.replay(request).body for _ in range(4)}) == 1

    changing = start(small_site)  # a changing Action is never one of UCloud's clients' alone: it is carried out once
    open_account = signed_2(
        "CreateAccount", {"Account": "newcomer", "ZoneLimit": ["any"], "NetworkLimit": ["any"]}, pair=small.OPERATOR
    )
    replies = [changing.replay(open_account) for _ in range(4)]

    assert [reply.ret_code for reply in replies] == [0, 171, 171, 171]
    assert len({reply.headers["x-phimage-revision"] for reply in replies[1:]}) == 1


def test_t05_the_action_in_the_url_is_neither_read_nor_signed_when_there_is_a_body(gateway: Gateway) -> None:
    for request in (signed(LIST, ZONE), signed(LIST, ZONE, Encoding.FLAT)):
        plain = gateway.replay(request).body
        for query in (f"Action={LIST}", "Action=Evil", "foo=bar&Action=Evil&Zone=cn-bj2-03"):
            assert gateway.replay(request._replace(query=query)).body == plain


@pytest.mark.parametrize("encoding", Encoding)
def test_t06_blank_values_are_kept_and_signed(gateway: Gateway, lenient: Gateway, encoding: Encoding) -> None:
    blanks = {"Region": "cn-bj2", "Zone": "", "ImageType": "", "ProjectId": "", "Cluster": "", "ImageId.0": "", "Limit": 7}
    dropped = signed(LIST, {name: value for name, value in blanks.items() if value != ""})
    signature = dict(pair.split(b"=") for pair in dropped.body.split(b"&"))[b"Signature"].decode()

    assert lenient.ask(LIST, blanks, encoding=encoding).ret_code == 0
    assert gateway.ask(LIST, blanks, encoding=encoding).message == "Missing params [Zone]"
    unsigned = {"Action": LIST, **blanks, "PublicKey": DEMO.public, "Signature": signature}
    assert lenient.replay(encoded(unsigned, encoding)).ret_code == 171


def test_t07_json_arrays_sign_without_indices_dotted_keys_as_they_are_and_null_as_its_key(gateway: Gateway) -> None:
    for name in ("go-json-list", "go-json-null", "js-everything"):
        assert gateway.replay(RECORDINGS[name]).ret_code == 0

    nested = {
        **ZONE,
        "ImageId": ["a", "b"],
        "Tags": [{"K": "k", "A": [1, True, None]}, {}],
        "Empty": [],
        "Object": {"b": 1, "a": 2},
    }
    assert gateway.ask(LIST, nested, encoding=Encoding.NESTED).ret_code == 0
    with_indices = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "ImageId.0": "a", "ImageId.1": "b"}
    wrong = {
        "Action": LIST,
        **ZONE,
        "PublicKey": DEMO.public,
        "ImageId": ["a", "b"],
        "Signature": sign(with_indices, DEMO.private),
    }
    assert gateway.replay(encoded(wrong, Encoding.NESTED)).ret_code == 171


@pytest.mark.parametrize("encoding", [Encoding.FORM, Encoding.QUERY, Encoding.FLAT])
def test_t08_names_are_sorted_as_text_so_that_image_10_comes_before_image_2(gateway: Gateway, encoding: Encoding) -> None:
    ids = {f"ImageId.{number}": f"i{number}" for number in range(12)}
    by_number = "".join(f"ImageId.{number}i{number}" for number in range(12))
    params = {"Action": LIST, **ZONE, **ids, "PublicKey": DEMO.public}

    assert gateway.replay(encoded({**params, "Signature": sign(params, DEMO.private)}, encoding)).ret_code == 0
    numbered = {"Action": LIST, "I": by_number[1:], "PublicKey": DEMO.public, **ZONE}  # the same text, sorted by number
    assert gateway.replay(encoded({**params, "Signature": sign(numbered, DEMO.private)}, encoding)).ret_code == 171
    assert [gateway.replay(RECORDINGS[name]).ret_code for name in ("py-invoke-twelve-ids", "js-twelve-ids")] == [0, 0]


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("10", "10"),
        ("35.0", "35"),
        ("65.722", "65.722"),
        ("65.7220", "65.722"),
        ("1e-7", "0.0000001"),
        ("1e+21", "1000000000000000000000"),
        ("1E2", "100"),
        ("-0.50", "-0.5"),
        ("0.1", "0.1"),
        ("9007199254740993", "9007199254740993"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("0.1234567890123456789012345", "0.1234567890123456789012345"),
    ],
)
def test_t09_json_numbers_are_signed_as_decimal_text_and_never_as_floats(gateway: Gateway, literal: str, text: str) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "Proportion": text}
    whole = json.dumps({**params, "Signature": sign(params, DEMO.private)}).replace(
        f'"Proportion": "{text}"', f'"Proportion": {literal}'
    )

    assert literal in whole
    assert gateway.send(headers=[("Content-Type", JSON)], body=whole.encode()).ret_code == 0


def test_t10_the_first_index_is_0_and_every_other_way_to_write_a_list_works(gateway: Gateway) -> None:
    wanted = ["pimg-ub-ns6ntq", "pimg-cs-p4dzup"]
    ways: list[tuple[Params, Encoding]] = [
        ({"ImageId.0": wanted[0], "ImageId.1": wanted[1]}, Encoding.FORM),
        ({"ImageId.1": wanted[0], "ImageId.2": wanted[1]}, Encoding.FORM),
        ({"ImageId.7": wanted[1], "ImageId.20261231235959": wanted[0]}, Encoding.FORM),
        ({"ImageId": wanted[0], "ImageId.1": wanted[1]}, Encoding.QUERY),
        ({"ImageId.n": wanted[0], "ImageId.0": wanted[1]}, Encoding.FORM),
        ({"ImageId": wanted}, Encoding.NESTED),
        ({"ImageId": wanted}, Encoding.FLAT),
    ]

    for params, encoding in ways:
        assert gateway.ask(LIST, {**ZONE, **params}, encoding=encoding).ids == wanted, params


def test_t11_a_machine_type_needs_no_cluster(small_gateway: Gateway) -> None:
    alone = {"Region": "north", "Zone": "north-a", "MachineType": "Both"}
    with_default = small_gateway.ask(LIST, {**alone, "Cluster": "25G"}, pair=small.ACME)

    assert small_gateway.ask(LIST, alone, pair=small.ACME).ids == with_default.ids != []
    assert small_gateway.ask(LIST, {**alone, "MachineType": "Slow"}, pair=small.ACME).ids != []


def test_t12_terraform_sends_nothing_for_base_and_custom_in_small_letters(gateway: Gateway) -> None:
    base, custom = (gateway.replay(RECORDINGS[name]._replace(path="/limit/1000/")) for name in ("tf-base", "tf-custom"))

    assert {image["ImageType"] for image in base.images} == {"Base", "Custom"}
    assert {image["ImageType"] for image in custom.images} == {"Custom"}
    assert base.ids[-custom.total :] == custom.ids


def test_t13_terraform_sees_the_first_20_of_all_zones_so_the_order_is_total(lenient: Gateway) -> None:
    request = RECORDINGS["tf-base-without-zone"]
    seen, every = lenient.replay(request), lenient.replay(request._replace(path="/limit/1000/"))
    order = [(image["ImageType"], -int(image["CreateTime"]), image["ImageId"]) for image in every.images]

    assert seen.ids == every.ids[:20]
    assert seen.total == every.total == len(every.ids) > 40
    assert order == sorted(order)


def test_t14_os_type_is_a_distribution_and_not_linux(gateway: Gateway) -> None:
    found = {image["OsType"] for image in gateway.ask(LIST, WHOLE).images}

    assert {"CentOS", "Ubuntu", "Windows"} <= found
    assert not {"linux", "unix", ""} & {name.lower() for name in found}


@pytest.mark.parametrize("action", ["DescribePHostMachineType", "DescribeBaremetalMachineType"])
def test_t15_one_answer_of_machine_types_serves_both_models(gateway: Gateway, action: str) -> None:
    answer = gateway.ask(action, {"Region": "cn-bj2"}).fields

    for client in CLIENTS.values():
        client.decode(action, answer)
    for row in answer["MachineTypes"]:
        assert row.get("Components") is None
        assert {"Name": row["Cluster"], "StockStatus": row["StockStatus"]} in row["Clusters"]
        assert float(row["CPU"]["Frequency"]) == float(row["CPU"]["Frequence"])
        assert all(disk["Number"] == disk["Count"] for disk in row["Disks"])


@pytest.mark.parametrize("version", [{}, {"APIVersion": "v2"}], ids=["superset", "v2"])
def test_t16_keys_that_differ_in_case_alone_agree(gateway: Gateway, version: Params) -> None:
    disks = [
        disk
        for action in ("DescribePHostMachineType", "DescribeBaremetalMachineType")
        for row in gateway.ask(action, {"Region": "cn-bj2", **version}).fields["MachineTypes"]
        for disk in row["Disks"]
    ]

    assert disks
    assert all(disk.get("IOCap", disk["IoCap"]) == disk["IoCap"] for disk in disks)


@pytest.mark.parametrize("version", [{}, {"APIVersion": "v2"}], ids=["superset", "v2"])
@pytest.mark.parametrize("action", ["DescribePHostMachineType", "DescribeBaremetalMachineType"])
def test_t17_machine_types_have_no_price(gateway: Gateway, action: str, version: Params) -> None:
    assert b"price" not in gateway.ask(action, {"Region": "cn-bj2", **version}).body.lower()


def test_t18_a_bearer_token_is_told_of_a_missing_signature_and_never_174(gateway: Gateway) -> None:
    bearer = (("Authorization", "Bearer an-oauth-token"), ("Content-Type", FORM))
    bodies = [b"Action=GetUserInfo", b"Action=GetUserInfo&SecurityToken=x", f"Action={LIST}&PublicKey={DEMO.public}".encode()]

    assert [gateway.send(headers=bearer, body=body).ret_code for body in bodies] == [170, 170, 170]
    assert gateway.replay(RECORDINGS["cli-bearer"]).message == "Missing signature"


def test_t19_the_cli_can_be_set_up_without_init_which_calls_another_site(gateway: Gateway) -> None:
    """`ucloud config add --base-url` asks for regions and projects and finds in them what it was told."""
    regions, projects = (gateway.replay(RECORDINGS[name]._replace(path="/cli")) for name in ("cli-regions", "cli-projects"))

    assert ("cn-bj2", "cn-bj2-02") in {(row["Region"], row["Zone"]) for row in regions.fields["Regions"]}
    assert "org-default" in {row["ProjectId"] for row in projects.fields["ProjectSet"]}
    assert gateway.replay(RECORDINGS["cli-user"]).fields["DataSet"][0]["AuthState"] == "CERTIFIED"


@pytest.mark.parametrize("encoding", Encoding)
def test_t20_unknown_parameters_are_signed_and_then_ignored(gateway: Gateway, encoding: Encoding) -> None:
    unknown = {
        "base-url": "http://127.0.0.1:8080",
        "private-key": "x",
        "Action.0": "Evil",
        "zone": "no",
        "Zone.0": "no",
    }
    plain = signed(LIST, ZONE, encoding)

    assert gateway.ask(LIST, {**ZONE, **unknown}, encoding=encoding).body == gateway.replay(plain).body
    if encoding is Encoding.QUERY:
        added = plain._replace(query=plain.query + "&base-url=x")
    elif encoding is Encoding.FORM:
        added = plain._replace(body=plain.body + b"&base-url=x")
    else:
        added = plain._replace(body=plain.body[:-1] + b',"base-url":"x"}')
    assert gateway.replay(added).ret_code == 171


def test_t21_there_is_one_user_one_default_region_and_one_default_project(gateway: Gateway, small_gateway: Gateway) -> None:
    everyone = [(small_gateway, pair) for pair in (small.ACME, small.VIEWER, small.WORKER, small.RIVAL, small.OPERATOR)]

    for place, pair in [(gateway, DEMO), *everyone]:
        regions = place.ask("GetRegion", pair=pair).fields["Regions"]
        assert [row["IsDefault"] for row in regions].count(True) == 1
        assert len(place.ask("GetUserInfo", pair=pair).fields["DataSet"]) == 1
    for place, pair in [(gateway, DEMO), (small_gateway, small.ACME), (small_gateway, small.RIVAL)]:
        projects = place.ask("GetProjectList", pair=pair).fields["ProjectSet"]
        assert [row["IsDefault"] for row in projects].count(True) == 1
    fenced = small_gateway.ask("GetRegion", pair=small.FENCED, client=small.INSIDE).fields["Regions"]
    assert [(row["Zone"], row["IsDefault"]) for row in fenced] == [("north-a", True)]


@pytest.mark.parametrize("path", ["/", "", "//", "/ok", "/ok/", "/a/b/c", "/cli", "/镜像/", "/index.html", "/..", "/healthz/"])
def test_t22_no_answer_has_a_bom_an_empty_body_a_redirect_or_a_wrong_charset(gateway: Gateway, path: str) -> None:
    requests = [signed(LIST, ZONE, encoding, path=path) for encoding in Encoding]
    requests += [Request(path=path), Request("GET", path), Request(path=path, body=b"{")]

    for reply in map(gateway.replay, requests):
        assert reply.status == 200
        assert reply.body[:1] == b"{"
        assert reply.headers["content-type"] in ("application/json", "application/json; charset=utf-8")
        assert reply.body.decode("utf-8")
        assert "location" not in reply.headers
    assert "镜像" not in gateway.ask(LIST, ZONE, path=path).body.decode("utf-8")
    assert "64位" in gateway.ask(LIST, ZONE, path=path).body.decode("utf-8")


def test_t23_every_answer_has_a_ret_code(gateway: Gateway) -> None:
    replies = list(_errors(gateway).values())
    replies += [gateway.send(method) for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD")]
    replies += [gateway.send(body=body) for body in (b"{", b"[]", b"null", b"\xff", b"a=%ff", b"x" * 70_000, b"{}" * 40_000)]

    assert all(type(reply.fields["RetCode"]) is int and reply.ret_code != 0 for reply in replies)
    assert gateway.ask("ListZones").ret_code == 0


_ZJ = """\
phimage: 1
regions:
  - id: cn-zj
    number: 1000099
    name: {zh: 浙江, en: Zhejiang}
    zones:
      - {id: cn-zj-01, name: {zh: 浙江可用区A, en: Zhejiang Zone A}}
"""


def test_t24_regions_and_zones_are_data_so_that_those_of_the_examples_can_be_had(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    example: Params = {"Region": "cn-zj", "Zone": "cn-zj-01"}

    assert gateway.ask(LIST, example, pair=small.ACME).message == "Params [Region] not available"
    assert gateway.ask("ApplyCatalog", {"Catalog": _ZJ}, pair=small.OPERATOR).ret_code == 0
    assert gateway.ask(LIST, example, pair=small.ACME).total == 0
    assert "cn-zj-01" in {row["Zone"] for row in gateway.ask("GetRegion", pair=small.ACME).fields["Regions"]}


def test_t25_images_are_in_image_set_and_not_under_the_name_of_the_old_example(gateway: Gateway) -> None:
    answer = gateway.ask(LIST, ZONE).fields

    assert len(answer["ImageSet"]) == 20
    assert "Images" not in answer


def test_t26_every_image_has_all_eleven_fields(gateway: Gateway, small_gateway: Gateway) -> None:
    fields = {
        *("ImageId", "ImageName", "OsName", "OsType", "Support", "Version", "ImageType", "CreateTime", "State"),
        *("ImageSize", "ImageDescription"),
    }
    images = (
        gateway.ask(LIST, WHOLE).images
        + small_gateway.ask(LIST, {"Region": "north", "Zone": "north-a"}, pair=small.ACME).images
    )

    assert len(fields) == 11
    assert all(set(image) == fields and None not in image.values() for image in images)


@pytest.mark.parametrize(
    ("literal", "signed_as"), [("true", "1"), ("false", ""), ("0.5", ".5")], ids=["PHP true", "PHP false", "JV fraction"]
)
def test_t27_what_some_clients_sign_wrongly_is_refused(gateway: Gateway, literal: str, signed_as: str) -> None:
    params = {"Action": LIST, **ZONE, "PublicKey": DEMO.public, "Extra": signed_as}
    wrong = json.dumps({**params, "Signature": sign(params, DEMO.private)}).replace(
        f'"Extra": "{signed_as}"', f'"Extra": {literal}'
    )

    assert gateway.send(headers=[("Content-Type", JSON)], body=wrong.encode()).ret_code == 171


def test_t27_a_java_request_that_is_used_again_signs_its_old_signature_and_is_refused(gateway: Gateway) -> None:
    first = {"Action": LIST, **ZONE, "PublicKey": DEMO.public}
    signature = sign(first, DEMO.private)
    everything = sorted({**first, "Signature": signature}.items())
    text = "".join(name + value for name, value in everything) + DEMO.private
    again = hashlib.sha1(text.encode()).hexdigest()

    assert gateway.replay(encoded({**first, "Signature": signature}, Encoding.FLAT)).ret_code == 0
    assert gateway.replay(encoded({**first, "Signature": again}, Encoding.FLAT)).ret_code == 171


def test_t28_modifying_an_image_takes_name_and_remark() -> None:
    names = _parameters("ModifyPHostImageInfo")

    assert names is not None
    assert {"Name", "Remark"} <= names
    assert not {"ImageName", "ImageDescription"} & names


def test_t29_create_time_of_hosts_is_an_integer_though_that_of_images_is_text(gateway: Gateway) -> None:
    if _parameters("DescribePHost") is None:
        assert gateway.ask("DescribePHost", {"Region": "cn-bj2"}).ret_code == 161
    else:
        hosts = gateway.ask("DescribePHost", {"Region": "cn-bj2"}).fields["PHostSet"]
        assert all(type(host["CreateTime"]) is int and type(host["ExpireTime"]) is int for host in hosts)
    assert all(type(image["CreateTime"]) is str for image in gateway.ask(LIST, ZONE).images)
    assert type(gateway.ask("GetProjectList").fields["ProjectSet"][0]["CreateTime"]) is int


def _parameters(action: str) -> set[str] | None:
    """The parameters of an Action; None if there is no such Action."""
    actions = registry()
    known = actions.get(action)
    return None if known is None else {reader.name for reader in readers_of(known.request, actions.settings)}


def test_t30_there_is_no_nonce_so_that_the_same_bytes_work_again(gateway: Gateway) -> None:
    request = signed(LIST, ZONE)
    times = ["0", "1700000000000", "99999999999999", "", "yesterday"]
    replies = [gateway.replay(request._replace(headers=(*request.headers, ("U-Timestamp-Ms", time)))) for time in times]
    replies += [gateway.replay(request) for _ in range(4)]

    assert {reply.body for reply in replies} == {gateway.replay(request).body}
    assert len({reply.headers["x-ucloud-request-uuid"] for reply in replies}) == len(replies)
