"""The comparison of two responses: what may differ and what may not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.upgrade.recording import differences

THEN: dict[str, Any] = {
    "TotalCount": 2,
    "ImageSet": [{"ImageId": "a", "Support": ["x"]}, {"ImageId": "b", "Support": []}],
    "Zone": None,
}


@pytest.mark.parametrize(
    "gained",
    [
        {**THEN, "Fresh": 1},
        {**THEN, "ImageSet": [{**image, "Fresh": None} for image in THEN["ImageSet"]]},
    ],
    ids=["in the response", "in an element of a list"],
)
def test_a_field_may_be_gained(gained: dict[str, Any]) -> None:
    assert list(differences(THEN, gained)) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"TotalCount": 3}, ".TotalCount: was 2, is 3"),
        ({"TotalCount": "2"}, ".TotalCount: was 2, is '2'"),
        ({"TotalCount": 2.0}, ".TotalCount: was 2, is 2.0"),
        ({"Zone": ""}, ".Zone: was None, is ''"),
        ({"ImageSet": THEN["ImageSet"][:1]}, ".ImageSet: had 2 elements, has 1"),
        ({"ImageSet": [*THEN["ImageSet"], {}]}, ".ImageSet: had 2 elements, has 3"),
        ({"ImageSet": THEN["ImageSet"][::-1]}, ".ImageSet[0].ImageId: was 'a', is 'b'"),
        ({"ImageSet": [{"ImageId": "a"}, THEN["ImageSet"][1]]}, ".ImageSet[0].Support: was ['x'], is absent"),
    ],
)
def test_everything_else_is_a_difference(change: dict[str, Any], difference: str) -> None:
    assert next(differences(THEN, {**THEN, **change})) == difference


def test_an_explanation_may_gain_reasons_and_notes_and_lose_none() -> None:
    then = {"ReasonSet": [{"Rule": "visible"}], "Notes": []}
    assert list(differences(then, {"ReasonSet": [{"Rule": "visible"}, {"Rule": "runs"}], "Notes": "(list)"})) == []
    assert list(differences(then, {"ReasonSet": [], "Notes": []})) == [".ReasonSet: had 1 elements, has 0"]
    assert list(differences(then, {"ReasonSet": [{"Rule": "runs"}], "Notes": []})) == [
        ".ReasonSet[0].Rule: was 'visible', is 'runs'"
    ]
    assert list(differences({"Notes": "(list)"}, {"Notes": []})) == [".Notes: was '(list)', is []"]


def test_a_map_may_not_gain_a_key_because_its_keys_are_data() -> None:
    then, now = {"Roles": {"org-a": "viewer"}}, {"Roles": {"org-a": "viewer", "org-b": "viewer"}}
    assert list(differences(then, now)) == [".Roles.org-b: was absent, is 'viewer'"]


def test_a_renamed_field_is_compared_under_its_new_name() -> None:
    renamed = {"Old": "New"}
    assert list(differences({"Old": 1}, {"New": 1}, renamed=renamed)) == []
    assert list(differences({"Old": 1}, {"New": 2}, renamed=renamed)) == [".New: was 1, is 2"]
    assert list(differences({"Old": 1}, {"Old": 1}, renamed=renamed)) == [".New: was 1, is absent"]
