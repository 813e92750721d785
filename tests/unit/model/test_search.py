"""Texts and labels of searches, and orders that are total."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from phimage.model.ids import ImageId, ProjectId
from phimage.model.image import Image, Query
from phimage.model.search import Search, SortOrder, find, folded, in_order, label_filter
from tests.examples import image, offering

EVERYTHING = Search(query=Query(ProjectId("org-a"), ()), anywhere=True)
TOPOLOGY = offering()


def finds(search: Search, one: Image) -> bool:
    return find([one], search, TOPOLOGY, lambda _: False) == [one]


@pytest.mark.parametrize(
    ("text", "name"),
    [("centos", "ＣｅｎｔＯＳ"), ("STRASSE", "Straße"), ("e\u0301", "É"), ("位", "CentOS 7.9 64位"), ("S 7.9", "CentOS 7.9")],
)
def test_a_text_is_found_in_any_case_width_and_composition(text: str, name: str) -> None:
    assert finds(replace(EVERYTHING, text=text), image(name=name))
    assert folded(text) in folded(name)


def test_a_text_is_not_found_across_two_fields() -> None:
    one = replace(image(name="ends with a"), os_name="b begins")

    assert finds(replace(EVERYTHING, text="b begins"), one)
    assert not finds(replace(EVERYTHING, text="ab begins"), one)


@pytest.mark.parametrize(("label", "found"), [("team", True), ("team=a=b", True), ("team=", False), ("tea", False)])
def test_a_label_is_a_key_or_a_key_with_its_value(label: str, found: bool) -> None:
    one = replace(image(), labels={"team": "a=b"})

    assert finds(replace(EVERYTHING, labels=(label_filter(label),)), one) is found


def test_versions_are_in_natural_order_and_equal_images_in_that_of_their_ids() -> None:
    versions = {"pimg-d": "8.10", "pimg-c": "8.9", "pimg-b": "v1", "pimg-a": "8.10"}
    images = [replace(image(), id=ImageId(id), version=version) for id, version in versions.items()]

    assert [one.id for one in in_order(images, SortOrder.VERSION)] == ["pimg-c", "pimg-a", "pimg-d", "pimg-b"]
    assert [one.id for one in in_order(images, SortOrder.VERSION_DESCENDING)] == ["pimg-b", "pimg-a", "pimg-d", "pimg-c"]
