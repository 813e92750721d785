"""`phimage api`: any Action from the command line, with its parameters as they are sent."""

from __future__ import annotations

import json

import pytest

from phimage.actions import registry
from tests.api_described.served import Served
from tests.e2e.process import Phimage

PLACE = ("Region=cn-bj2", "Zone=cn-bj2-02")


def test_it_calls_an_action_and_prints_the_answer_on_one_line(served: Served) -> None:
    printed = served.phimage.well("api", "DescribePHostImage", *PLACE, "Limit=2")

    assert printed.count("\n") == 1
    answer = json.loads(printed)
    assert (answer["RetCode"], answer["Action"], len(answer["ImageSet"])) == (0, "DescribePHostImageResponse", 2)


def test_it_indents_the_answer_on_a_terminal_and_when_asked_to(served: Served) -> None:
    assert served.phimage.well("api", "GetUserInfo", "--json").startswith('{\n  "RetCode": 0,\n')
    assert served.phimage.in_terminal("api", "GetUserInfo").out.startswith('{\n  "RetCode": 0,\n')


def test_an_error_is_printed_all_the_same_and_exits_1(served: Served) -> None:
    result = served.phimage.run("api", "DescribePHostImage", "Region=cn-bj2")

    assert (result.code, result.err) == (1, "")
    assert json.loads(result.out)["RetCode"] == 220
    assert json.loads(result.out)["Message"] == "Missing params [Zone]"


def test_elements_of_a_list_are_given_by_index(served: Served) -> None:
    ids = [image["ImageId"] for image in served.phimage.json("api", "DescribePHostImage", *PLACE)["ImageSet"]][:2]

    asked = [f"ImageId.{index}={id}" for index, id in enumerate(ids)]

    assert served.phimage.json("api", "DescribePHostImage", *PLACE, *asked)["TotalCount"] == 2


def test_nothing_is_sent_that_was_not_written(served: Served) -> None:
    with_profile = Phimage(
        served.phimage.home,
        **{**served.phimage.environment, "PHIMAGE_REGION": "cn-bj2", "PHIMAGE_ZONE": "cn-bj2-02", "PHIMAGE_PROJECT": "org-x"},
    )

    assert json.loads(with_profile.run("api", "DescribePHostImage").out)["Message"] == "Missing params [Region]"


def test_a_value_can_come_from_a_file_or_from_standard_input(served: Served) -> None:
    catalog = served.phimage.well("catalog", "export")
    (served.phimage.home / "catalog.yaml").write_text(catalog, "utf-8")

    from_file = json.loads(served.phimage.well("api", "PlanCatalog", "Catalog=@catalog.yaml"))
    from_input = json.loads(served.phimage.well("api", "PlanCatalog", "Catalog=@-", text=catalog))

    assert from_file == from_input
    assert from_file["DifferenceSet"] == []


def test_a_value_can_begin_with_an_at_sign(served: Served) -> None:
    answer = json.loads(served.phimage.run("api", "DescribePHostImage", "Region=@@cn").out)
    plain = json.loads(served.phimage.run("api", "ListUsers", "Account=@@nobody").out)

    assert answer["Message"] == "Missing params [Zone]"
    assert plain["Message"] == "Params [Account] not available"


def test_it_asks_a_past_catalogue(served: Served) -> None:
    assert served.phimage.json("api", "--rev", "1", "ListRegions")["Regions"] == []
    assert len(served.phimage.json("api", "ListRegions")["Regions"]) > 30


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("GetRegion", "Region"), "'Region' is not NAME=VALUE"),
        (("GetRegion", "=x"), "'=x' is not NAME=VALUE"),
        (("GetRegion", "A=1", "A=2"), "A is given twice"),
        (("GetRegion", "PublicKey=x"), "leave PublicKey out"),
        (("GetRegion", "Signature=x"), "leave Signature out"),
    ],
)
def test_a_usage_error_is_reported_before_anything_is_sent(words: tuple[str, ...], reason: str, served: Served) -> None:
    result = Phimage(served.phimage.home).run("api", *words)

    assert result.code == 64
    assert reason in result.err


def test_a_file_that_cannot_be_read_is_named(served: Served) -> None:
    result = served.phimage.run("api", "PlanCatalog", "Catalog=@absent.yaml")

    assert (result.code, result.out) == (1, "")
    assert result.err == "phimage: absent.yaml cannot be read: No such file or directory; check the path and its permissions\n"


def test_names_of_parameters_cannot_get_in_the_way(served: Served) -> None:
    assert served.phimage.json("api", "GetUserInfo", "self=1", "action=2", "params=3")["RetCode"] == 0


def test_without_an_action_it_lists_them_all_without_a_key_or_a_server(served: Served) -> None:
    alone = Phimage(served.phimage.home)

    assert {row["Action"] for row in alone.json("api")} == {action.name for action in registry()}
    assert "List the images that machines of a zone can run." in alone.well("api")


def test_an_action_can_be_described_without_a_key_or_a_server(served: Served) -> None:
    alone = Phimage(served.phimage.home)

    described = alone.json("api", "--describe", "DescribePHostImage")

    required = {row["Name"]: row["Required"] for row in described["Parameters"]}
    assert (required["Region"], required["Zone"], required["ProjectId"], required["Limit"]) == (True, True, False, False)
    assert {"DescribePHostImageResponse", "PHostImageSet"} == set(described["Response"])
    assert "network cluster of the machine" in alone.well("api", "--describe", "DescribePHostImage")


def test_an_action_that_there_is_not_cannot_be_described(served: Served) -> None:
    result = Phimage(served.phimage.home).run("api", "--describe", "Nothing")

    assert result.code == 1
    assert "there is no Action Nothing" in result.err
