"""Finding has every filter, all details, and the listing rule: what the caller cannot list it cannot find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from phimage.catalog.images import IMAGES
from tests.api import small
from tests.api.gateway import Gateway, Reply
from tests.api.publishing import ABOUT, Shop, disk
from tests.api.signer import Pair, Params, signed_2
from tests.examples import author, image

NORTH_A: Params = {"Region": "north", "Zone": "north-a"}
OF_ACME = ["b-far", *small.BASE_OF_NORTH_A, "c-a-new", "c-a-old"]


def find(gateway: Gateway, params: Params | None = None, pair: Pair = small.ACME) -> list[str]:
    """The ids of what is found, in order."""
    reply = gateway.ask("FindPHostImages", {"Limit": "100", **(params or {})}, pair=pair)
    assert reply.ret_code == 0, reply.fields
    found = [row["Image"]["ImageId"] for row in reply.images]
    assert reply.total == len(found)
    return found


def refusal(reply: Reply) -> tuple[int, str]:
    return reply.ret_code, reply.message


def test_without_a_filter_everything_is_found_that_the_caller_can_see(small_gateway: Gateway) -> None:
    assert find(small_gateway) == OF_ACME
    assert find(small_gateway, {"ProjectId": "org-b"}) == [*OF_ACME[:-2], "c-b"]
    assert find(small_gateway, {"ProjectId": "org-a"}, small.VIEWER) == OF_ACME


@pytest.mark.parametrize(
    "place",
    [NORTH_A, {"Region": "north"}, {"Region": "south", "Zone": "south-a"}],
    ids=lambda place: place.get("Zone", place["Region"]),
)
@pytest.mark.parametrize(
    "more", [{}, {"ImageType": "custom"}, {"ImageType": "Base"}, {"ImageId.0": "b-old", "ImageId.1": "c-r"}, {"Cluster": "25G"}]
)
def test_in_a_place_the_list_is_found(small_lenient: Gateway, place: Params, more: Params) -> None:
    listed = small_lenient.ask("DescribePHostImage", {**place, **more, "Limit": 100}, pair=small.ACME)

    assert find(small_lenient, {**place, **more}) == listed.ids


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"Zone": "north-a", "MachineType": "Slow"}, ["b-new", "b-slow"]),
        ({"MachineType": "Slow", "Cluster": "1G"}, ["b-slow"]),
        ({"Text": "B-TIE"}, ["b-tie1", "b-tie2"]),
        ({"Text": "64位", "Family": "centos-7", "OsType": "CENTOS", "ImageType": "Custom"}, ["c-a-new", "c-a-old"]),
        ({"Family": "centos"}, []),
        ({"State": "unavailable"}, ["b-10g"]),
        ({"HasBytes": "yes"}, []),
        ({"Deprecated": "only"}, ["b-old"]),
        ({"Deprecated": "include", "ImageType": "Base", "Sort": "created"}, ["b-none", "b-slow", "b-tie1", "b-tie2"]),
        ({"Sort": "-created", "State": "Available"}, ["c-a-old", "b-far", "b-new", "b-25g"]),
        ({"Label.0": "team"}, []),
    ],
    ids=str,
)
def test_a_filter_narrows_what_is_found(small_gateway: Gateway, params: Params, expected: list[str]) -> None:
    assert find(small_gateway, params)[: max(1, len(expected))] == expected


def test_an_image_is_found_with_all_that_is_shown_of_it(small_gateway: Gateway) -> None:
    for row in small_gateway.ask("FindPHostImages", {"Deprecated": "include"}, pair=small.ACME).images:
        shown = small_gateway.ask("GetPHostImage", {"ImageId": row["Image"]["ImageId"]}, pair=small.ACME).fields
        assert {name: value for name, value in shown.items() if name not in ("RetCode", "Action")} == row
        assert row["ProjectId"] == ("org-a" if row["Image"]["ImageType"] == "Custom" else "")


def test_pages_are_together_what_is_found(small_gateway: Gateway) -> None:
    pages = [
        small_gateway.ask("FindPHostImages", {"Sort": "-name", "Offset": start, "Limit": 4}, pair=small.ACME)
        for start in (0, 4, 8, 12)
    ]

    assert [row["Image"]["ImageId"] for page in pages for row in page.images] == find(small_gateway, {"Sort": "-name"})
    assert {page.total for page in pages} == {10}
    counted = small_gateway.ask("FindPHostImages", {"Limit": 0}, pair=small.ACME)
    assert (counted.images, counted.total) == ([], 10)


@pytest.mark.parametrize(
    ("params", "code", "name"),
    [
        ({"Region": "nowhere"}, 230, "Region"),
        ({"Zone": "nowhere"}, 230, "Zone"),
        ({"Region": "north", "Zone": "south-a"}, 230, "Zone"),
        ({"Zone": "south-a", "MachineType": "Slow"}, 230, "MachineType"),
        ({"Cluster": "100G"}, 230, "Cluster"),
        ({"Sort": "id"}, 230, "Sort"),
        ({"Deprecated": "perhaps"}, 230, "Deprecated"),
        ({"HasBytes": "some"}, 230, "HasBytes"),
        ({"State": "Gone"}, 230, "State"),
        ({"Label.0": "Team=x"}, 230, "Label"),
        ({"Label.0": "team", "Label.1": "=x"}, 230, "Label"),
        ({"Text": "x" * 256}, 240, "Text"),
        ({"Limit": "1001"}, 230, "Limit"),
    ],
    ids=str,
)
def test_a_wrong_filter_is_named(small_gateway: Gateway, params: Params, code: int, name: str) -> None:
    assert refusal(small_gateway.ask("FindPHostImages", params, pair=small.ACME))[0] == code
    assert f"[{name}]" in small_gateway.ask("FindPHostImages", params, pair=small.ACME).message


def test_an_account_finds_nothing_in_zones_that_it_may_not_use(small_gateway: Gateway) -> None:
    def fenced(**params: str) -> Reply:
        return small_gateway.ask("FindPHostImages", params, pair=small.FENCED, client=small.INSIDE)

    assert [row["Image"]["ImageId"] for row in fenced().images] == small.BASE_OF_NORTH_A
    assert refusal(fenced(Zone="north-b")) == (293, "Zone [north-b] not permitted")


def test_only_the_operator_finds_images_of_other_accounts(shop: Shop) -> None:
    def custom(project: str, pair: Pair) -> Reply:
        request = {"ImageType": "Custom", **({"ProjectId": project} if project else {})}
        return shop.gateway.replay(signed_2("FindPHostImages", request, pair=pair))

    def ids(project: str) -> list[str]:
        return [row["Image"]["ImageId"] for row in custom(project, shop.operator).images]

    assert ids("org-r") == ["c-r"]
    assert ids("all") == ["c-f", "c-r", "c-b", "c-a-new", "c-a-old"]
    assert ids("all") == ids("all"), "from the cache"
    assert ids("") == []
    assert refusal(custom("org-none", shop.operator)) == (292, "Project [org-none] not exists")
    assert refusal(custom("org-r", small.ACME)) == (292, "Project [org-r] not exists")
    assert refusal(custom("all", small.ACME)) == (292, "Project [all] not exists")
    weak = shop.gateway.ask("FindPHostImages", {"ProjectId": "org-r"}, pair=shop.operator)
    assert (weak.ret_code, "signature version 2" in weak.fields["Detail"]) == (299, True)


def test_before_there_were_places_nothing_is_found_and_later_versions_are_named(shop: Shop) -> None:
    empty = shop.gateway.ask("FindPHostImages", NORTH_A, pair=small.ACME, path="/rev/0/")
    assert (empty.ret_code, empty.total) == (0, 0)
    before = shop.gateway.ask("GetRegion").headers["x-phimage-revision"]
    with shop.catalog.change(author()) as change:
        IMAGES.add_all(change, [image("b-newest", zones=["north-a"], created=9999)])
    shop.gateway.learn(change.number)

    pinned = shop.gateway.ask("FindPHostImages", {"ImageType": "Base"}, pair=small.ACME, path=f"/rev/{before}/")
    assert pinned.headers["x-phimage-newer"] == "centos-7=b-newest"
    assert "b-newest" not in [row["Image"]["ImageId"] for row in pinned.images]


def test_labels_and_bytes_are_found(shop: Shop, tmp_path: Path) -> None:
    whole = shop.publish(disk(tmp_path), Label=["spot=", "owner=a=b"])
    begun = shop.begin(disk(tmp_path))
    labels: list[dict[str, str]] = [{"team": "storage", "tier": "gold"}, {"team": "compute"}]
    with shop.catalog.change(author()) as change:
        made = [image(f"l-{number}", zones=[]) for number in range(2)]
        IMAGES.add_all(change, [replace(one, labels=given) for one, given in zip(made, labels, strict=True)])
    shop.gateway.learn(change.number)

    def found(**params: Any) -> list[str]:
        return find(shop.gateway, params)

    assert found(**{"Label.0": "team"}) == ["l-0", "l-1"]
    assert found(**{"Label.0": "team=storage", "Label.1": "tier"}) == ["l-0"]
    assert found(**{"Label.0": "team", "Zone": "north-a"}) == [], "they are in no zone"
    assert found(HasBytes="true") == found(**{"Label.0": "owner=a=b", "Label.1": "spot="}) == [whole]
    assert whole not in found(HasBytes="false")
    assert begun not in found()
    assert begun in find(shop.gateway, {"HasBytes": "no"}, shop.operator)


@pytest.mark.parametrize(
    ("labels", "code"),
    [(["team"], 230), (["Team=x"], 230), (["a=" + "x" * 129], 240), ([f"a{number}=" for number in range(33)], 240)],
)
def test_a_publication_has_labels_that_images_can_have(shared_shop: Shop, labels: list[str], code: int) -> None:
    refused = shared_shop.ask("PublishPHostImage", {**ABOUT, "TrustFirstUse": True, "Label": labels})

    assert refusal(refused)[0] == code
    assert "[Label]" in refused.message
