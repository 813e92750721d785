"""Explaining tells a caller why an image is not listed, and nothing about images that it may not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.api import small
from tests.api.gateway import Gateway
from tests.api.signer import Request, signed, signed_2

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


def test_anothers_image_is_explained_like_one_that_does_not_exist(small_gateway: Gateway) -> None:
    answers = [_explain(small_gateway, image) for image in ("c-r", "c-b", "no-such-image")]
    for answer in answers:
        del answer["ImageId"]
    assert answers[0] == answers[1] == answers[2]
    assert [reason["Rule"] for reason in answers[0]["ReasonSet"]] == ["visible"]


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
    assert told["Notes"] == ["it is Making: it cannot be deployed before it is Available"]


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
