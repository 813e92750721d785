"""Our real answers through every client's model, and proof that the models can refuse (wire-protocol 4.2, 4.3, 6)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from ucloud.core import exc
from ucloud.services.uaccount.schemas import apis as uaccount
from ucloud.services.uphost.schemas import apis as uphost

from tests.api import small
from tests.api.decoders import ABSENT, CLIENTS, PLACES, Client, Undecodable
from tests.api.gateway import Gateway, Reply, strict_object
from tests.api.signer import DEMO, Pair, Params

FIELDS = {
    *("ImageId", "ImageName", "OsName", "OsType", "Support", "Version", "ImageType", "CreateTime", "State", "ImageSize"),
    "ImageDescription",
}

LISTS: dict[str, Params] = {
    "a page": {"Region": "cn-bj2", "Zone": "cn-bj2-02"},
    "every image of a zone": {"Region": "cn-bj2", "Zone": "cn-bj2-02", "Limit": "1000"},
    "the custom images": {"Region": "cn-bj2", "Zone": "cn-bj2-02", "ImageType": "Custom"},
    "the other project": {"Region": "cn-bj2", "Zone": "cn-bj2-02", "ProjectId": "org-xyz", "Limit": "1000"},
    "a zone without machines": {"Region": "cn-bj1", "Zone": "cn-bj1-01"},
    "a machine type": {"Region": "cn-bj2", "Zone": "cn-bj2-02", "MachineType": "DB-2", "Cluster": "10G"},
    "nothing": {"Region": "cn-bj2", "Zone": "cn-bj2-02", "ImageId.0": "pimg-no"},
    "the count alone": {"Region": "cn-bj2", "Zone": "cn-bj2-02", "Limit": "0"},
}

MACHINE_TYPES = ("DescribePHostMachineType", "DescribeBaremetalMachineType")
ACCOUNT_ACTIONS = ("GetRegion", "GetProjectList", "GetUserInfo")
NEW_MODEL = ("GO", "JV", "TF")
"""The clients whose machine types have the new model. Python reads it too, without the stock of clusters."""


@pytest.fixture(params=list(CLIENTS))
def client(request: pytest.FixtureRequest) -> Client:
    return CLIENTS[request.param]


# our answers


@pytest.mark.parametrize("params", LISTS.values(), ids=LISTS)
def test_every_client_decodes_a_list_of_images(gateway: Gateway, client: Client, params: Params) -> None:
    reply = gateway.ask("DescribePHostImage", params)

    assert reply.ret_code == 0
    client.decode("DescribePHostImage", reply.fields)


def test_every_client_decodes_every_image_of_every_zone(gateway: Gateway) -> None:
    zones = gateway.ask("ListZones").fields["Zones"]
    for zone in zones:
        reply = gateway.ask("DescribePHostImage", {"Region": zone["Region"], "Zone": zone["Zone"], "Limit": "1000"})
        for client in CLIENTS.values():
            client.decode("DescribePHostImage", reply.fields)

    assert len(zones) == 43


@pytest.mark.parametrize("params", LISTS.values(), ids=LISTS)
def test_the_real_python_sdk_decodes_a_list_of_images(gateway: Gateway, params: Params) -> None:
    reply = gateway.ask("DescribePHostImage", params)
    found = uphost.DescribePHostImageResponseSchema().loads(json.loads(reply.body))

    assert found["TotalCount"] == reply.total
    assert [image["ImageId"] for image in found["ImageSet"]] == reply.ids
    assert [str(image["CreateTime"]) for image in found["ImageSet"]] == [image["CreateTime"] for image in reply.images]
    assert all(image["ImageSize"] > 0 and type(image["ImageSize"]) is int for image in found["ImageSet"])
    assert [image["Support"] for image in found["ImageSet"]] == [image["Support"] for image in reply.images]


def test_an_image_has_the_eleven_fields_and_no_other(gateway: Gateway) -> None:
    reply = gateway.ask("DescribePHostImage", LISTS["every image of a zone"])

    assert reply.images
    assert all(set(image) == FIELDS for image in reply.images)


@pytest.mark.parametrize("action", MACHINE_TYPES)
@pytest.mark.parametrize("params", [{}, {"Region": "cn-bj2"}, {"Region": "cn-bj2", "Zone": "cn-bj2-02"}], ids=len)
def test_every_client_decodes_machine_types_without_a_version(
    gateway: Gateway, client: Client, action: str, params: Params
) -> None:
    reply = gateway.ask(action, {"Region": "cn-bj2", **params} if action == "DescribeBaremetalMachineType" else params)

    assert reply.fields["MachineTypes"]
    client.decode(action, reply.fields)


@pytest.mark.parametrize("action", MACHINE_TYPES)
@pytest.mark.parametrize("name", [*NEW_MODEL, "PY"])
def test_the_clients_with_the_new_model_decode_machine_types_of_version_2(gateway: Gateway, name: str, action: str) -> None:
    reply = gateway.ask(action, {"Region": "cn-bj2", "APIVersion": "v2"})

    assert reply.fields["MachineTypes"]
    CLIENTS[name].decode(action, reply.fields)


@pytest.mark.parametrize("version", [{}, {"APIVersion": "v2"}], ids=["superset", "v2"])
def test_the_real_python_sdk_decodes_machine_types(gateway: Gateway, version: Params) -> None:
    params = {"Region": "cn-bj2", "Zone": "cn-bj2-02", **version}
    local = json.loads(gateway.ask("DescribePHostMachineType", params).body)
    cloud = json.loads(gateway.ask("DescribeBaremetalMachineType", params).body)
    found = uphost.DescribePHostMachineTypeResponseSchema().loads(local)["MachineTypes"]
    found_cloud = uphost.DescribeBaremetalMachineTypeResponseSchema().loads(cloud)["MachineTypes"]

    assert [row["Type"] for row in found] == [row["Type"] for row in local["MachineTypes"]]
    assert [row["Type"] for row in found_cloud] == [row["Type"] for row in cloud["MachineTypes"]]
    assert not any(row.get("Components") for row in [*found, *found_cloud])
    if not version:
        assert all(row["CPU"]["Frequence"] > 2 for row in [*found, *found_cloud])
        assert all(row["Clusters"] for row in [*found, *found_cloud])
        assert all(type(disk["IOCap"]) is int and disk["Count"] > 0 for row in found for disk in row["Disks"])


@pytest.mark.parametrize("action", ACCOUNT_ACTIONS)
def test_every_client_decodes_what_the_caller_is_told_about_itself(gateway: Gateway, client: Client, action: str) -> None:
    client.decode(action, gateway.ask(action).fields)


@pytest.mark.parametrize("pair", [small.ACME, small.VIEWER, small.RIVAL, small.OPERATOR], ids=lambda pair: pair.public)
@pytest.mark.parametrize("action", ACCOUNT_ACTIONS)
def test_every_client_decodes_it_for_every_kind_of_user(
    small_gateway: Gateway, client: Client, action: str, pair: Pair
) -> None:
    client.decode(action, small_gateway.ask(action, pair=pair).fields)


@pytest.mark.parametrize(
    ("action", "schema", "rows"),
    [
        ("GetRegion", uaccount.GetRegionResponseSchema, "Regions"),
        ("GetProjectList", uaccount.GetProjectListResponseSchema, "ProjectSet"),
        ("GetUserInfo", uaccount.GetUserInfoResponseSchema, "DataSet"),
    ],
)
def test_the_real_python_sdk_decodes_what_the_caller_is_told(gateway: Gateway, action: str, schema: Any, rows: str) -> None:
    raw = json.loads(gateway.ask(action).body)
    found = schema().loads(raw)[rows]

    assert found == raw[rows]  # every field is there and had its type already


@pytest.mark.parametrize("action", PLACES)
def test_regions_and_zones_have_the_shape_that_public_programs_read(gateway: Gateway, action: str) -> None:
    PLACES[action](gateway.ask(action).fields, action)


# the decoders can refuse: table 4.3, good is what it marks as good and everything else is refused

GOOD_IMAGE = dict.fromkeys(FIELDS, "text") | {"Support": ["DB-2"], "CreateTime": "1700000000", "ImageSize": 20}
ALL = frozenset(CLIENTS)


def good_for(*names: str) -> frozenset[str]:
    return frozenset(names)


def but(*names: str) -> frozenset[str]:
    return ALL - frozenset(names)


TABLE: list[tuple[str, object, frozenset[str]]] = [
    ("CreateTime", "1700000000", ALL),
    ("CreateTime", "0", ALL),
    ("CreateTime", 1700000000, but("GO")),
    ("CreateTime", Decimal("1700000000.0"), but("GO", "JV")),
    ("CreateTime", "2023-11-14 22:13:20", but("PY")),
    ("CreateTime", "2023-11-14T22:13:20Z", but("PY")),
    ("CreateTime", "", but("PY")),
    ("CreateTime", None, ALL),
    ("CreateTime", ABSENT, but("PHP")),
    ("CreateTime", True, good_for("TF")),
    ("ImageSize", 20, ALL),
    ("ImageSize", "20", good_for("PY", "JV")),
    ("ImageSize", Decimal("20.0"), but("GO", "PHP")),
    ("ImageSize", Decimal("20.5"), good_for()),
    ("ImageSize", "", good_for()),
    ("ImageSize", None, ALL),
    ("Support", ["a"], ALL),
    ("Support", [], ALL),
    ("Support", None, good_for("PY", "GO", "TF")),
    ("Support", ABSENT, good_for("PY", "GO", "TF")),
    ("Support", "DB-2", good_for()),
    ("Support", {}, good_for()),
    ("Support", [1, 2], good_for()),
    ("Version", 1, good_for()),
    ("Version", None, ALL),
    ("TotalCount", "1", good_for("PY", "JV")),
    ("TotalCount", ABSENT, good_for("PY", "GO", "TF")),
    ("ImageSet", [], ALL),
    ("ImageSet", None, good_for("PY", "GO", "PHP", "TF")),
    ("ImageSet", ABSENT, good_for("PY", "GO", "TF")),
]


def plain_name(value: object) -> str | None:
    """A name for a case that is the same in every process; a set has none."""
    return None if isinstance(value, set | frozenset) else repr(value)


def answer_with(name: str, value: object) -> dict[str, Any]:
    image: dict[str, Any] = dict(GOOD_IMAGE)
    answer: dict[str, Any] = {"RetCode": 0, "TotalCount": 1, "ImageSet": [image]}
    place = image if name in image else answer
    if value is ABSENT:
        del place[name]
    else:
        place[name] = value
    return answer


@pytest.mark.parametrize(("name", "value", "good"), TABLE, ids=plain_name)
def test_a_decoder_takes_what_the_table_marks_as_good_and_refuses_the_rest(
    client: Client, name: str, value: object, good: frozenset[str]
) -> None:
    answer = answer_with(name, value)

    if client.name in good:
        client.decode("DescribePHostImage", answer)
    else:
        with pytest.raises(Undecodable):
            client.decode("DescribePHostImage", answer)


@pytest.mark.parametrize(("name", "value", "good"), [row for row in TABLE if "PY" not in row[2]], ids=plain_name)
def test_the_python_decoder_refuses_what_the_real_sdk_refuses_or_misreads(
    name: str, value: object, good: frozenset[str]
) -> None:
    answer = json.loads(json.dumps(answer_with(name, value), default=float))
    try:
        found = uphost.DescribePHostImageResponseSchema().loads(answer)
    except exc.ValidationException:
        return
    taken = found["ImageSet"][0].get(name)
    assert (type(taken), taken) != (type(value), value)  # not as what was sent


@pytest.mark.parametrize("ret_code", [ABSENT, None, "0", Decimal("0.0"), 171], ids=repr)
def test_no_decoder_takes_an_answer_without_a_plain_ret_code_0(client: Client, ret_code: object) -> None:
    with pytest.raises(Undecodable):
        client.decode("DescribePHostImage", answer_with("RetCode", ret_code))


@pytest.mark.parametrize("name", ["PY", "GO", "TF"])
def test_decoders_that_fold_case_refuse_two_keys_that_differ_in_case_alone(name: str) -> None:
    with pytest.raises(Undecodable, match="only key"):
        CLIENTS[name].decode("DescribePHostImage", answer_with("totalCount", 2))


def machine_types(gateway: Gateway, action: str, **changes: object) -> dict[str, Any]:
    """A real answer, with changes to its first row."""
    answer = gateway.ask(action, {"Region": "cn-bj2"}).fields
    row = answer["MachineTypes"][0]
    for name, value in changes.items():
        if value is ABSENT:
            del row[name]
        else:
            row[name] = value
    return answer


@pytest.mark.parametrize(
    ("changes", "refused_by"),
    [
        ({"Components": [{"Name": "disk", "Count": 1}]}, {"PY", "JS", "PHP"}),
        ({"Components": {"Name": "disk", "Count": 1}}, {"GO", "JV", "TF"}),
        ({"Components": None}, set()),
        ({"Price": {"Month": 100}}, {"GO", "JV", "TF"}),
        ({"Clusters": ABSENT}, {"JS", "PHP"}),
        ({"Cluster": 25}, {"GO", "JV", "TF"}),
        ({"Disks": [{"Space": 480, "Name": 1}]}, set(CLIENTS)),
        ({"GpuInfo": {"Name": "", "Count": 0, "Memory": 24, "Performance": ""}}, {"GO", "JV", "TF"}),
        ({"Memory": 2**31}, {"JV"}),
        ({"memory": 1}, {"PY", "GO", "TF"}),
    ],
    ids=plain_name,
)
def test_decoders_of_machine_types_refuse_what_the_other_model_has(
    gateway: Gateway, client: Client, changes: dict[str, object], refused_by: set[str]
) -> None:
    answer = machine_types(gateway, "DescribePHostMachineType", **changes)

    if client.name in refused_by:
        with pytest.raises(Undecodable):
            client.decode("DescribePHostMachineType", answer)
    else:
        client.decode("DescribePHostMachineType", answer)


@pytest.mark.parametrize(("field", "value"), [("RaidLevel", "1"), ("DiskType", "LocalDisk"), ("IoCap", Decimal("1.0"))])
def test_go_refuses_a_disk_whose_numbers_are_not_integers(gateway: Gateway, field: str, value: object) -> None:
    answer = machine_types(gateway, "DescribePHostMachineType")
    answer["MachineTypes"][0]["Disks"][0][field] = value

    with pytest.raises(Undecodable, match=field):
        CLIENTS["GO"].decode("DescribePHostMachineType", answer)


@pytest.mark.parametrize("count", [0, 2])
def test_a_decoder_wants_exactly_one_user(gateway: Gateway, client: Client, count: int) -> None:
    answer: Mapping[str, Any] = gateway.ask("GetUserInfo").fields

    with pytest.raises(Undecodable, match="one element"):
        client.decode("GetUserInfo", {**answer, "DataSet": [answer["DataSet"][0]] * count})


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", b"[]", b'{"a":1,"a":2}', b'{"a":NaN}', b"", b"\xff", b"{}{}"])
def test_the_reader_of_answers_refuses_what_is_not_one_plain_object(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_object(body)


def test_an_integer_with_a_point_is_not_an_integer_to_the_reader_of_answers() -> None:
    found = Reply(200, {}, b'{"RetCode":0,"a":20,"b":20.0,"c":2e1}').fields

    assert [type(found[name]) for name in "abc"] == [int, Decimal, Decimal]


def test_the_demo_pair_is_the_published_one() -> None:
    assert DEMO.public == "ucloudsomeone@example.com1296235120854146120"
