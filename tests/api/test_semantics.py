"""What a list of images means, row by row of section 5 and decisions B1 to B14, B16 of the wire protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api import small
from tests.api.conftest import Start, both_sites
from tests.api.gateway import Gateway, Reply
from tests.api.signer import Encoding, Pair, Params
from tests.sites import Site

LIST = "DescribePHostImage"
BASE = small.BASE_OF_NORTH_A
CUSTOM = ["c-a-new", "c-a-old"]
NORTH_A: Params = {"Region": "north", "Zone": "north-a"}


def listed(gateway: Gateway, pair: Pair = small.ACME, encoding: Encoding = Encoding.FORM, **params: Any) -> Reply:
    """A list of the zone north-a, where nothing else is said; None leaves a parameter out."""
    given = {**NORTH_A, **params}
    return gateway.ask(LIST, {name: value for name, value in given.items() if value is not None}, pair=pair, encoding=encoding)


def asked(*images: str) -> dict[str, Any]:
    """A list of ids, as most clients write it."""
    return {f"ImageId.{position}": image for position, image in enumerate(images)}


def given(name: str, value: Any) -> dict[str, Any]:
    """One parameter."""
    return {name: value}


def told(reply: Reply) -> tuple[int, str]:
    return reply.ret_code, reply.message


# Region and Zone


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("blank", [None, ""])
@pytest.mark.parametrize("name", ["Region", "Zone"])
def test_region_and_zone_are_needed_and_a_blank_is_as_good_as_nothing(
    small_gateway: Gateway, name: str, blank: str | None, encoding: Encoding
) -> None:
    assert told(listed(small_gateway, encoding=encoding, **given(name, blank))) == (220, f"Missing params [{name}]")


@pytest.mark.parametrize("encoding", [Encoding.FLAT, Encoding.NESTED])
@pytest.mark.parametrize("nothing", ["null", "[]", "{}", '""'])
def test_null_and_empty_json_values_are_as_good_as_nothing(
    small_lenient: Gateway, small_gateway: Gateway, nothing: str, encoding: Encoding
) -> None:
    value = json.loads(nothing)
    for name in ("Zone", "ImageType", "ImageId", "Offset", "Limit", "MachineType", "Cluster", "ProjectId"):
        reply = small_lenient.ask(LIST, {**NORTH_A, name: value}, pair=small.ACME, encoding=encoding)
        without = {key: text for key, text in NORTH_A.items() if key != name}
        assert reply.body == small_lenient.ask(LIST, without, pair=small.ACME).body, name
    assert small_gateway.ask(LIST, {**NORTH_A, "Zone": value}, pair=small.ACME, encoding=encoding).ret_code == 220


@pytest.mark.parametrize("region", ["nowhere", "NORTH", " north", "north ", "north-a", "北"])
def test_an_unknown_region_is_not_available(small_gateway: Gateway, region: str) -> None:
    assert told(listed(small_gateway, Region=region)) == (230, "Params [Region] not available")


@pytest.mark.parametrize("zone", ["nowhere", "NORTH-A", "south-a", "north"])
def test_a_zone_that_is_unknown_or_of_another_region_is_not_available(small_gateway: Gateway, zone: str) -> None:
    assert told(listed(small_gateway, Zone=zone)) == (230, "Params [Zone] not available")


@pytest.mark.parametrize("zone", [None, ""])
def test_without_a_zone_a_lenient_server_lists_all_zones_of_the_region(small_lenient: Gateway, zone: str | None) -> None:
    assert listed(small_lenient, Zone=zone).ids == [*BASE, *CUSTOM]
    assert listed(small_lenient, Region="south", Zone=zone).ids == ["b-far"]
    assert listed(small_lenient, Zone="north-b").ids == [image for image in BASE if image != "b-slow"]


def test_without_a_zone_an_account_sees_the_zones_that_it_may_use(small_lenient: Gateway) -> None:
    reply = small_lenient.ask(LIST, {"Region": "north"}, pair=small.FENCED, client=small.INSIDE)

    assert reply.ids == BASE  # and not c-f, its own image in north-b
    assert small_lenient.ask(LIST, {"Region": "south"}, pair=small.FENCED, client=small.INSIDE).ids == []


def test_support_names_the_machine_types_of_the_zone_that_was_asked_for(small_gateway: Gateway) -> None:
    in_a = {image["ImageId"]: image["Support"] for image in listed(small_gateway).images}
    in_b = {image["ImageId"]: image["Support"] for image in listed(small_gateway, Zone="north-b").images}

    assert in_a["b-new"] == ["Both", "Slow"]
    assert in_b["b-new"] == ["Both"]
    assert (in_a["b-25g"], in_b["b-25g"]) == (["Both"], [])  # north-b has Both on 10G alone
    assert in_a["b-none"] == in_b["b-none"] == []


# ProjectId and visibility


@both_sites
def test_custom_images_are_those_of_the_project_and_base_images_are_everyones(small_gateway: Gateway) -> None:
    assert listed(small_gateway).ids == [*BASE, *CUSTOM]
    assert listed(small_gateway, ProjectId="org-a").ids == [*BASE, *CUSTOM]
    assert listed(small_gateway, ProjectId="org-b").ids == [*BASE, "c-b"]
    assert listed(small_gateway, small.RIVAL).ids == [*BASE, "c-r"]


@pytest.mark.parametrize("project", [None, ""])
def test_without_a_project_the_main_user_means_the_default_one(small_gateway: Gateway, project: str | None) -> None:
    assert listed(small_gateway, ProjectId=project, ImageType="Custom").ids == CUSTOM


@pytest.mark.parametrize("project", ["org-r", "org-never", "Default", "org-A"])
def test_a_project_of_another_account_is_as_unknown_as_one_that_never_was(small_gateway: Gateway, project: str) -> None:
    reply = listed(small_gateway, ProjectId=project)

    assert told(reply) == (292, f"Project [{project}] not exists")
    assert set(reply.fields) == {"RetCode", "Action", "Message"}


def test_a_sub_user_must_name_a_project_that_it_is_a_member_of(small_gateway: Gateway) -> None:
    assert listed(small_gateway, small.VIEWER).ret_code == 299
    assert listed(small_gateway, small.VIEWER, ProjectId="").ret_code == 299
    assert listed(small_gateway, small.VIEWER, ProjectId="org-b").ret_code == 299
    assert listed(small_gateway, small.VIEWER, ProjectId="org-r").ret_code == 292
    assert listed(small_gateway, small.VIEWER, ProjectId="org-a").ids == [*BASE, *CUSTOM]
    assert listed(small_gateway, small.WORKER, ProjectId="org-b").ids == [*BASE, "c-b"]


def test_the_image_of_another_project_cannot_be_found_by_its_id(small_gateway: Gateway) -> None:
    for stranger in ("c-b", "c-r", "c-never"):
        reply = listed(small_gateway, **asked(stranger))
        assert (reply.total, reply.ids) == (0, [])
    assert listed(small_gateway, ProjectId="org-b", **asked("c-b")).ids == ["c-b"]


# ImageType (B10)


@pytest.mark.parametrize("value", ["Base", "base", "BASE"])
def test_base_images_alone(small_gateway: Gateway, value: str) -> None:
    assert listed(small_gateway, ImageType=value).ids == BASE


@pytest.mark.parametrize("value", ["Custom", "custom", "CUSTOM"])
def test_custom_images_alone(small_gateway: Gateway, value: str) -> None:
    assert listed(small_gateway, ImageType=value).ids == CUSTOM


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_type_both_kinds_are_listed(small_gateway: Gateway, value: str | None) -> None:
    assert listed(small_gateway, ImageType=value).ids == [*BASE, *CUSTOM]


@pytest.mark.parametrize("value", ["Business", "all", "Base,Custom", "0", "ſbase"])
def test_any_other_type_is_not_available(small_gateway: Gateway, value: str) -> None:
    assert told(listed(small_gateway, ImageType=value)) == (230, "Params [ImageType] not available")


# ImageId.N (B3, B22)


def test_ids_are_alternatives_and_unknown_ones_are_left_out(small_gateway: Gateway) -> None:
    reply = listed(small_gateway, ImageId=["c-a-old", "no-such", "b-slow", "b-new", "b-new"])

    assert reply.ids == ["b-new", "b-slow", "c-a-old"]
    assert reply.total == 3
    assert listed(small_gateway, **asked("no-such")).total == 0


def test_ids_and_other_filters_must_all_hold(small_gateway: Gateway) -> None:
    ids = asked("b-new", "b-25g", "b-10g", "c-a-new")

    assert listed(small_gateway, **ids, ImageType="Base").ids == ["b-new", "b-25g", "b-10g"]
    assert listed(small_gateway, **ids, MachineType="Both", Cluster="10G").ids == ["b-new", "b-10g", "c-a-new"]
    assert listed(small_gateway, **ids, MachineType="Both", Cluster="10G", ImageType="Custom").ids == ["c-a-new"]
    assert listed(small_gateway, **ids, Zone="north-b").ids == ["b-new", "b-25g", "b-10g"]


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(("count", "code"), [(1, 0), (99, 0), (100, 0), (101, 240), (300, 240)])
def test_a_list_takes_100_ids(small_gateway: Gateway, count: int, code: int, encoding: Encoding) -> None:
    reply = listed(small_gateway, encoding=encoding, ImageId=[*(f"no-{number}" for number in range(count - 1)), "b-new"])

    assert reply.ret_code == code
    if code:
        assert reply.message == "Params [ImageId] too large"
    else:
        assert reply.ids == ["b-new"]


def test_blank_ids_are_not_counted_and_no_id_at_all_is_no_filter(small_gateway: Gateway) -> None:
    blanks = asked(*[""] * 150)

    assert listed(small_gateway, **blanks, **given("ImageId.700", "b-new")).ids == ["b-new"]
    assert listed(small_gateway, **blanks).ids == [*BASE, *CUSTOM]


@pytest.mark.parametrize("index", ["0", "1", "17", "007", "999999999", "1000000000", "18446744073709551616", "n"])
def test_any_index_will_do(small_gateway: Gateway, index: str) -> None:
    assert listed(small_gateway, **given(f"ImageId.{index}", "b-new")).ids == ["b-new"]


@pytest.mark.parametrize("index", ["-1", "1.0", "x", "0x1", "N", "", "0.Id"])
def test_what_is_no_index_makes_another_parameter_which_is_ignored(small_gateway: Gateway, index: str) -> None:
    assert listed(small_gateway, **given(f"ImageId.{index}", "b-new")).ids == [*BASE, *CUSTOM]


@pytest.mark.parametrize("name", ["ImageId.+1", "ImageId.٣", "Image Id", "镜像", "a=b", "{"])
def test_a_name_that_is_no_parameters_is_refused(small_gateway: Gateway, name: str) -> None:
    assert told(listed(small_gateway, **given(name, "b-new"))) == (230, f"Params [{name}] not available")


def test_an_id_of_more_than_64_characters_is_too_large(small_gateway: Gateway) -> None:
    assert listed(small_gateway, **asked("i" * 64)).total == 0
    assert told(listed(small_gateway, **asked("i" * 65))) == (240, "Params [ImageId] too large")


@pytest.mark.parametrize("value", [{"a": "b"}, [["b-new"]], [{"Id": "b-new"}]], ids=str)
def test_an_id_that_is_not_one_value_is_not_available(small_gateway: Gateway, value: Any) -> None:
    assert told(listed(small_gateway, encoding=Encoding.NESTED, ImageId=value)) == (230, "Params [ImageId] not available")


def test_a_deprecated_image_is_listed_only_when_it_is_asked_for(small_gateway: Gateway) -> None:
    assert "b-old" not in listed(small_gateway).ids
    assert listed(small_gateway, **asked("b-old", "b-new")).ids == ["b-new", "b-old"]
    assert listed(small_gateway, **asked("b-new")).ids == ["b-new"]


# Offset, Limit, TotalCount (B7)


def test_the_first_page_has_20_where_nothing_is_said(gateway: Gateway) -> None:
    zone: Params = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}
    reply, whole = gateway.ask(LIST, zone), gateway.ask(LIST, {**zone, "Limit": 1000})

    assert reply.ids == whole.ids[:20]
    assert reply.total == whole.total == len(whole.ids) > 20


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("limit", [0, 1, 2, 5, 9, 10, 20, 1000])
@pytest.mark.parametrize("offset", [0, 1, 8, 9, 10, 2_147_483_647])
def test_a_page_is_the_part_of_the_list_that_was_asked_for(
    small_gateway: Gateway, offset: int, limit: int, encoding: Encoding
) -> None:
    whole = [*BASE, *CUSTOM]
    reply = listed(small_gateway, encoding=encoding, Offset=offset, Limit=limit)

    assert reply.ids == whole[offset : offset + limit]
    assert reply.total == len(whole)


def test_pages_together_are_the_whole_list_and_overlap_nowhere(gateway: Gateway) -> None:
    zone: Params = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}
    whole = gateway.ask(LIST, {**zone, "Limit": 1000}).ids
    pages = [gateway.ask(LIST, {**zone, "Limit": 7, "Offset": offset}).ids for offset in range(0, len(whole) + 7, 7)]

    assert [image for page in pages for image in page] == whole
    assert pages[-1] == []


@pytest.mark.parametrize("name", ["Offset", "Limit"])
@pytest.mark.parametrize(
    "value", ["-1", "10.5", "1e1", "many", "0x10", " 5", "5 ", "1_000", "٣", "²", "true", "2147483648", "9" * 30, "--1", "5;6"]
)
def test_what_is_no_whole_number_in_range_is_not_available(small_gateway: Gateway, name: str, value: str) -> None:
    for encoding in Encoding:
        assert told(listed(small_gateway, encoding=encoding, **given(name, value))) == (230, f"Params [{name}] not available")


@pytest.mark.parametrize("name", ["Offset", "Limit"])
@pytest.mark.parametrize("value", [-1, True, False, [5], {"a": 5}, 2**31, 2**64], ids=str)
def test_json_values_that_are_no_whole_number_in_range_are_not_available(small_gateway: Gateway, name: str, value: Any) -> None:
    assert told(listed(small_gateway, encoding=Encoding.NESTED, **given(name, value))) == (
        230,
        f"Params [{name}] not available",
    )


def test_numbers_are_understood_as_text_and_as_json_numbers(small_gateway: Gateway) -> None:
    for value in ("3", 3, "03"):
        for encoding in Encoding:
            assert listed(small_gateway, encoding=encoding, Limit=value).ids == BASE[:3]


@pytest.mark.parametrize(("limit", "code"), [(1000, 0), (1001, 230), (2_147_483_647, 230)])
def test_a_limit_over_the_max_is_refused_and_never_cut(small_gateway: Gateway, limit: int, code: int) -> None:
    assert listed(small_gateway, Limit=limit).ret_code == code


def test_the_max_limit_and_the_default_limit_are_settings(start: Start, small_site: Site) -> None:
    gateway = start(small_site, max_limit=5, default_limit=2)

    assert listed(gateway).ids == BASE[:2]
    assert listed(gateway, Limit=5).ids == BASE[:5]
    assert told(listed(gateway, Limit=6)) == (230, "Params [Limit] not available")


# order (B8)


@both_sites
def test_the_order_is_base_first_then_newest_first_then_by_id(small_gateway: Gateway) -> None:
    found = [(image["ImageId"], image["ImageType"], image["CreateTime"]) for image in listed(small_gateway).images]

    assert found == [
        ("b-new", "Base", "1000"),
        ("b-25g", "Base", "800"),
        ("b-10g", "Base", "700"),
        ("b-tie1", "Base", "600"),
        ("b-tie2", "Base", "600"),
        ("b-slow", "Base", "500"),
        ("b-none", "Base", "400"),
        ("c-a-new", "Custom", "4000"),
        ("c-a-old", "Custom", "3000"),
    ]


def test_the_same_question_always_gets_the_same_bytes(gateway: Gateway) -> None:
    assert (
        len({gateway.ask(LIST, {"Region": "hk", "Zone": "hk-02"}, encoding=encoding).body for encoding in [*Encoding] * 5}) == 1
    )


# MachineType and Cluster (B9)


@pytest.mark.parametrize(
    ("zone", "machine_type", "cluster", "found"),
    [
        ("north-a", "Both", None, ["b-new", "b-25g", "b-tie1", "b-tie2", *CUSTOM]),  # the default, 25G
        ("north-a", "Both", "", ["b-new", "b-25g", "b-tie1", "b-tie2", *CUSTOM]),
        ("north-a", "Both", "25G", ["b-new", "b-25g", "b-tie1", "b-tie2", *CUSTOM]),
        ("north-a", "Both", "10G", ["b-new", "b-10g", "b-tie1", "b-tie2", *CUSTOM]),
        ("north-a", "Both", "1G", []),  # known, and not offered for it
        ("north-b", "Both", None, ["b-new", "b-10g", "b-tie1", "b-tie2"]),  # no 25G there, so any cluster
        ("north-b", "Both", "25G", []),  # given, so exactly it
        ("north-a", "Slow", None, ["b-new", "b-slow"]),  # no 25G, so any of 1G and 10G
        ("north-a", "Slow", "1G", ["b-slow"]),
        ("north-a", "Slow", "10G", ["b-new"]),
        ("north-a", None, "25G", ["b-new", "b-25g", "b-tie1", "b-tie2", *CUSTOM]),
        ("north-a", None, "1G", ["b-slow"]),  # by some machine type
        ("north-a", None, "10G", ["b-new", "b-10g", "b-tie1", "b-tie2", *CUSTOM]),
        ("north-b", None, "25G", []),
    ],
)
@pytest.mark.parametrize("encoding", [Encoding.FORM, Encoding.NESTED])
def test_images_that_run_on_a_machine_type_and_cluster(
    small_gateway: Gateway, zone: str, machine_type: str | None, cluster: str | None, found: list[str], encoding: Encoding
) -> None:
    reply = listed(small_gateway, encoding=encoding, Zone=zone, MachineType=machine_type, Cluster=cluster)

    assert reply.ids == found
    assert reply.total == len(found)


@pytest.mark.parametrize("kind", ["NoSuch", "both", "Far", "Both ", "25G"])
def test_a_machine_type_that_the_zone_does_not_have_is_not_available(small_gateway: Gateway, kind: str) -> None:
    assert told(listed(small_gateway, MachineType=kind)) == (230, "Params [MachineType] not available")
    assert told(listed(small_gateway, Zone="north-b", MachineType="Slow")) == (230, "Params [MachineType] not available")


@pytest.mark.parametrize("cluster", ["100G", "25g", "25", "Both"])
@pytest.mark.parametrize("machine_type", [None, "Both"])
def test_an_unknown_cluster_is_not_available(small_gateway: Gateway, cluster: str, machine_type: str | None) -> None:
    reply = listed(small_gateway, MachineType=machine_type, Cluster=cluster)

    assert told(reply) == (230, "Params [Cluster] not available")


def test_a_machine_type_that_is_sold_out_still_has_its_images(small_gateway: Gateway) -> None:
    stock = small_gateway.ask("DescribePHostMachineType", {**NORTH_A, "Type": "Both"}, pair=small.ACME).fields["MachineTypes"]

    assert {row["Cluster"]: row["StockStatus"] for row in stock} == {"10G": "Available", "25G": "SoldOut"}
    assert listed(small_gateway, MachineType="Both", Cluster="25G").total > 0


def test_a_lenient_server_takes_a_machine_type_that_any_zone_of_the_region_has(small_lenient: Gateway) -> None:
    assert listed(small_lenient, Zone=None, MachineType="Slow", Cluster="1G").ids == ["b-slow"]
    # each zone means its own cluster: 25G in north-a, and 10G in north-b, which has no 25G
    by_zone = ["b-new", "b-25g", "b-10g", "b-tie1", "b-tie2", *CUSTOM]
    assert listed(small_lenient, Zone=None, MachineType="Both").ids == by_zone
    assert told(listed(small_lenient, Zone=None, MachineType="Far"))[0] == 230


# what an image is (B11 to B14)


def test_states_are_shown_and_never_filter(small_gateway: Gateway) -> None:
    states = {image["ImageId"]: image["State"] for image in listed(small_gateway).images}

    assert states["c-a-new"] == "Making"
    assert states["b-10g"] == "Unavailable"
    assert {state for name, state in states.items() if name not in ("c-a-new", "b-10g")} == {"Available"}


def test_the_values_of_an_image_are_those_of_the_catalogue(small_gateway: Gateway) -> None:
    (image,) = listed(small_gateway, **asked("b-slow")).images

    assert image == {
        "ImageId": "b-slow",
        "ImageName": "CentOS 7.9 64位",
        "OsName": "CentOS 7.9 64位",
        "OsType": "CentOS",
        "Support": ["Slow"],
        "Version": "v1.0",
        "ImageType": "Base",
        "CreateTime": "500",
        "State": "Available",
        "ImageSize": 20,
        "ImageDescription": "",
    }


# the errors of a list have nothing but words in them


@pytest.mark.parametrize(
    "params",
    [{"Region": None}, {"Zone": "no"}, {"Limit": "x"}, {"ProjectId": "org-no"}, {"ImageId": ["i"] * 101}, {"Cluster": "no"}],
    ids=str,
)
def test_an_error_has_no_part_of_a_list(small_gateway: Gateway, params: dict[str, Any]) -> None:
    fields = listed(small_gateway, **params).fields

    assert fields["Action"] == f"{LIST}Response"
    assert set(fields) <= {"RetCode", "Action", "Message", "Detail"}
    assert all(isinstance(value, str) for name, value in fields.items() if name != "RetCode")
