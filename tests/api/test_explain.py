"""Explaining tells a caller why an image is not listed, and nothing about images that it may not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.api import small
from tests.api.gateway import Gateway
from tests.api.signer import Pair, Request, signed, signed_2

NORTH_A = {"Region": "north", "Zone": "north-a"}


def _explain(gateway: Gateway, image: str, more: Mapping[str, str] | None = None) -> dict[str, Any]:
    reply = gateway.ask("ExplainPHostImage", {**NORTH_A, "ImageId": image, **(more or {})}, pair=small.ACME)
    assert reply.ret_code == 0, reply.fields
    return reply.fields


@pytest.mark.parametrize("image", small.BASE_OF_NORTH_A)
def test_a_listed_image_is_told_its_position(small_gateway: Gateway, image: str) -> None:
    told = _explain(small_gateway, image)
    listed = small_gateway.ask("DescribePHostImage", {**NORTH_A, "Limit": "100"}, pair=small.ACME)
    assert told["Listed"] is True
    assert listed.ids[told["Position"]] == image
    assert told["TotalCount"] == listed.total
    assert told["ReasonSet"] == []


@pytest.mark.parametrize(
    ("image", "more", "rules"),
    [
        ("b-old", {}, ["current"]),
        ("b-far", {}, ["placed"]),
        ("b-new", {"ImageType": "Custom"}, ["type"]),
        ("b-none", {"MachineType": "Both"}, ["runs"]),
        ("b-slow", {"MachineType": "Slow", "Cluster": "10G"}, ["runs"]),
        ("b-far", {"ImageType": "custom", "MachineType": "Both"}, ["type", "placed", "runs"]),
    ],
)
def test_every_reason_is_told_with_what_would_change_it(
    small_gateway: Gateway, image: str, more: dict[str, str], rules: list[str]
) -> None:
    told = _explain(small_gateway, image, more)
    assert told["Listed"] is False
    assert told["Position"] is None
    assert [reason["Rule"] for reason in told["ReasonSet"]] == rules
    assert all(reason["Reason"] and reason["Remedy"] for reason in told["ReasonSet"])


@pytest.mark.parametrize(
    ("pair", "project", "foreign"),
    [
        (small.ACME, "org-a", ["c-r", "c-f"]),
        (small.VIEWER, "org-a", ["c-b", "c-r"]),
        (small.WORKER, "org-b", ["c-a-old", "c-r"]),
    ],
)
def test_anothers_image_is_explained_like_one_that_does_not_exist(
    small_gateway: Gateway, pair: Pair, project: str, foreign: list[str]
) -> None:
    for action in ("ExplainPHostImage", "GetPHostImageMatrix"):
        for more in ({}, {"MachineType": "Far"}, {"MachineType": "Both", "Cluster": "100G"}):
            answers = []
            for image in (*foreign, "no-such-image"):
                asked = {**NORTH_A, **more, "ImageId": image, "ProjectId": project}
                answers.append(small_gateway.ask(action, asked, pair=pair).fields)
                answers[-1].pop("ImageId", None)
            assert answers[0] == answers[1] == answers[2]
            assert "visible" in str(answers[0]) or answers[0]["RetCode"] == 230


def test_an_image_of_another_project_of_the_account_is_explained_with_its_project(small_gateway: Gateway) -> None:
    told = _explain(small_gateway, "c-b", {"MachineType": "Slow"})
    assert [reason["Rule"] for reason in told["ReasonSet"]] == ["visible", "runs"]
    assert told["ReasonSet"][0] == {
        "Rule": "visible",
        "Reason": "it is a custom image of project org-b, and the list is of project org-a",
        "Remedy": "name the project with ProjectId=org-b, with a key that may use it",
    }
    assert _explain(small_gateway, "c-b", {"ProjectId": "org-b"})["Listed"] is True


@pytest.mark.parametrize(
    ("image", "more", "said"),
    [
        ("b-25g", {"MachineType": "Slow"}, "it does not support machine type Slow, which is offered here on 10G, 1G"),
        ("b-slow", {"MachineType": "Slow", "Cluster": "10G"}, "list is of 10G; Slow is offered here on 10G, 1G"),
        ("b-slow", {"MachineType": "Slow", "Cluster": "25G"}, "offers Slow on cluster 25G; on Slow it supports 1G; Slow is"),
        ("b-slow", {"Cluster": "25G"}, "here it runs on Slow (1G)"),
        ("b-none", {"Cluster": "25G"}, "nor on any other"),
        ("b-new", {"Zone": "north-b", "MachineType": "Both", "Cluster": "25G"}, "Both is offered here on 10G"),
    ],
)
def test_a_reason_about_a_cluster_names_those_that_are_offered_here(
    small_gateway: Gateway, image: str, more: dict[str, str], said: str
) -> None:
    (reason,) = _explain(small_gateway, image, more)["ReasonSet"]
    assert said in reason["Reason"]


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        (
            {"MachineType": "Far"},
            "offered here: Both, Slow; Far is offered in south-a; b-new supports Both, Slow of those offered here",
        ),
        ({"MachineType": "Near"}, "offered here: Both, Slow; b-new supports Both, Slow of those offered here"),
        (
            {"MachineType": "Slow", "Cluster": "100G"},
            "expected one of 10G, 1G, 25G; Slow is offered here on 10G, 1G; b-new supports Slow on 10G",
        ),
        ({"Zone": "south-a"}, "south-a is in region south: use Region=south"),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_offered_and_supported(
    small_gateway: Gateway, more: dict[str, str], detail: str
) -> None:
    explained = small_gateway.ask("ExplainPHostImage", {**NORTH_A, "ImageId": "b-new", **more}, pair=small.ACME)
    assert (explained.ret_code, explained.fields["Detail"]) == (230, detail)
    listed = small_gateway.ask("DescribePHostImage", {**NORTH_A, **more}, pair=small.ACME)
    assert listed.ret_code == 230
    assert listed.fields["Detail"] == detail.partition("; b-new")[0]


@pytest.mark.parametrize(
    ("image", "reasons"), [("b-new", []), ("b-old", ["current"]), ("b-far", ["placed"]), ("c-a-old", []), ("c-b", ["visible"])]
)
@pytest.mark.parametrize("zone", [{"Zone": "north-a"}, {}])
def test_the_matrix_is_what_lists_answer(
    small_gateway: Gateway, small_lenient: Gateway, zone: dict[str, str], image: str, reasons: list[str]
) -> None:
    reply = small_gateway.ask("GetPHostImageMatrix", {"Region": "north", **zone, "ImageId": image}, pair=small.ACME)
    assert reply.fields["Zones"] == (["north-a"] if zone else ["north-a", "north-b"])
    assert [reason["Rule"] for reason in reply.fields["ReasonSet"]] == reasons
    cells = reply.fields["MatrixSet"]
    assert len(cells) >= 6
    for cell in cells:
        named = {"MachineType": cell["MachineType"], "Cluster": cell["Cluster"], "Limit": "100"}
        listed = small_lenient.ask("DescribePHostImage", {"Region": "north", **zone, **named}, pair=small.ACME)
        assert cell["Listed"] == (listed.ret_code == 0 and image in listed.ids)
        assert cell["Listed"] == (cell["Rule"] == "")
        if not reasons and zone:
            assert cell["Listed"] == (cell["Offered"] and cell["Supported"])


def test_the_operator_is_told_whose_image_it_is(small_gateway: Gateway) -> None:
    reply = small_gateway.ask(
        "ExplainPHostImage",
        {**NORTH_A, "ImageId": "c-r", "ProjectId": _operator_project(small_gateway)},
        pair=small.OPERATOR,
    )
    if reply.ret_code == 0:
        assert "org-r" in reply.fields["ReasonSet"][0]["Reason"]
    else:
        assert reply.ret_code in (292, 299)


def _operator_project(gateway: Gateway) -> str:
    fields = gateway.ask("ListProjects", {"Account": "operator"}, pair=small.OPERATOR).fields
    project: str = fields["ProjectSet"][0]["ProjectId"]
    return project


def test_a_making_image_is_listed_with_a_note(small_gateway: Gateway) -> None:
    told = _explain(small_gateway, "c-a-new")
    assert told["Listed"] is True
    assert told["Notes"] == [
        "it is Making: it cannot be deployed before it is Available",
        "phimage has no bytes of this image yet: they come with its publication",
    ]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"Machinetype": "Both"}, "Machinetype (MachineType?)"),
        ({"ImageId.N": "b-new"}, "ImageId.N (ImageId.0?)"),
        ({"ImageIds": "b-new", "limt": "1"}, "ImageIds (ImageId.0?), limt (Limit?)"),
        ({"base-url": "x", "ProjectId": "org-a", "Note": "x", "ImageId.0": "b-new", "Offset": 0}, None),
    ],
)
@pytest.mark.parametrize("version", [signed, signed_2])
def test_a_parameter_that_is_nearly_a_known_one_is_ignored_and_named(
    small_gateway: Gateway, given: dict[str, Any], hint: str | None, version: Callable[..., Request]
) -> None:
    request = version("DescribePHostImage", {**NORTH_A, **given}, pair=small.ACME)

    for _ in range(2):  # the second time it may come from the cache
        reply = small_gateway.replay(request)
        assert reply.ret_code == 0
        assert reply.headers.get("x-phimage-hint") == hint
    explained = small_gateway.ask("ExplainPHostImage", {**NORTH_A, "ImageId": "b-new", "Machinetype": "Both"}, pair=small.ACME)
    assert "the parameter Machinetype (MachineType?) is unknown and was ignored" in explained.fields["Notes"]
