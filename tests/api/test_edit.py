"""Changing images: a project its own custom images, the operator any; what changes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ucloud.services.uphost.schemas import apis as uphost

from phimage.model.image import MAX_LABELS
from tests.api import small
from tests.api.conftest import both_sites
from tests.api.decoders import CLIENTS
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk
from tests.api.signer import Pair

MODIFY, UPDATE = "ModifyPHostImageInfo", "UpdatePHostImage"
MINE: dict[str, Any] = {"ImageId": "c-a-old"}
SHA = "sha256:" + "5" * 64


def shown(shop: Shop, image: str, pair: Pair = small.ACME, **more: str) -> dict[str, Any]:
    return shop.well("GetPHostImage", {"ImageId": image, **more}, pair)


# the Action of UCloud


@both_sites
def test_modify_changes_the_name_and_the_description_in_one_revision(shop: Shop) -> None:
    before, revision = shown(shop, "c-a-old"), shop.catalog.refresh()

    reply = shop.ask(MODIFY, {**NORTH_A, **MINE, "Name": "网站", "Remark": "two\nlines"}, small.ACME)

    assert (reply.ret_code, reply.fields["ImageId"]) == (0, "c-a-old")
    assert shop.catalog.refresh() == revision + 1
    image = {**before["Image"], "ImageName": "网站", "ImageDescription": "two\nlines"}
    assert shown(shop, "c-a-old") == {**before, "Image": image}
    for client in CLIENTS.values():
        client.decode(MODIFY, reply.fields)
    assert uphost.ModifyPHostImageInfoResponseSchema().loads(json.loads(reply.body))["ImageId"] == "c-a-old"
    assert shop.ask(MODIFY, {**NORTH_A, **MINE, "Name": "网站", "Remark": ""}, small.ACME).ret_code == 0
    assert shop.catalog.refresh() == revision + 1


@pytest.mark.parametrize(
    ("given", "code", "name"),
    [
        ({"Name": None}, 220, "Name"),
        ({"Name": "", "Remark": ""}, 220, "Name"),
        ({"Region": None}, 220, "Region"),
        ({"Zone": None}, 220, "Zone"),
        ({"ImageId": None}, 220, "ImageId"),
        ({"Zone": "south-a"}, 230, "Zone"),
        ({"Name": "n" * 129}, 240, "Name"),
        ({"Remark": "r" * 1025}, 240, "Remark"),
        ({"Name": "a\x1b[31m"}, 230, "Name"),
        ({"ImageName": "not here"}, 230, "ImageName"),
        ({"ImageId": "b-new"}, 230, "ImageId"),
        ({"ImageId": "c-b"}, 230, "ImageId"),
        ({"ImageId": "c-r"}, 230, "ImageId"),
        ({"ImageId": "pimg-cs-nobody"}, 230, "ImageId"),
    ],
    ids=str,
)
def test_modify_refuses_by_name_and_changes_nothing(given: dict[str, Any], code: int, name: str, shared_shop: Shop) -> None:
    before = shared_shop.catalog.refresh()
    asked = {key: value for key, value in {**NORTH_A, **MINE, "Name": "new", **given}.items() if value is not None}
    reply = shared_shop.ask(MODIFY, asked, small.ACME)
    assert (reply.ret_code, f"[{name}]" in reply.message) == (code, True)
    assert shared_shop.catalog.refresh() == before


@pytest.mark.parametrize("action", [MODIFY, UPDATE])
def test_an_unknown_image_and_one_of_others_have_the_same_answer(action: str, shared_shop: Shop) -> None:
    place = NORTH_A if action == MODIFY else {}
    details = set()
    for image in ("b-new", "c-b", "c-r", "pimg-cs-nobody"):
        reply = shared_shop.ask(action, {**place, "ImageId": image, "Name": "new"}, small.ACME)
        assert (reply.ret_code, reply.message) == (230, "Params [ImageId] not available")
        details.add(reply.fields["Detail"].replace(image, "ID"))
    assert len(details) == 1
    assert shared_shop.ask(action, {**place, **MINE, "Name": "n", "ProjectId": "org-a"}, small.VIEWER).ret_code == 299


# the Action of ours


@both_sites
def test_an_editor_changes_all_that_its_image_is_called_and_runs_on(shop: Shop) -> None:
    image = {"ImageId": "c-b", "ProjectId": "org-b"}
    given = {
        "Name": "Web",
        "OsType": "Debian",
        "OsName": "Debian 12",
        "Version": "2",
        "Family": "web",
        "Description": "nginx",
        "Zone": ["north-b", "north-a"],
        "Support": ["Both:10G"],
        "Successor": "b-new",
        "Label": ["team=web", "tier=", "formula=a=b"],
    }
    done = shop.well(UPDATE, {**image, **given}, small.WORKER)
    found = shown(shop, "c-b", small.WORKER, ProjectId="org-b")

    assert sorted(done["Changed"]) == sorted(given)
    assert done["Revision"] == shop.catalog.refresh()
    assert [found["Image"][name] for name in ("ImageName", "OsType", "OsName", "Version", "ImageDescription")] == [
        *("Web", "Debian", "Debian 12", "2", "nginx")
    ]
    assert (found["Family"], found["Zones"], found["Successor"]) == ("web", ["north-a", "north-b"], "b-new")
    assert [(run["MachineType"], run["Clusters"]) for run in found["Runs"]] == [("Both", ["10G"])]
    assert found["Labels"] == {"formula": "a=b", "team": "web", "tier": ""}
    again = shop.well(UPDATE, {**image, **given}, small.WORKER)
    assert (again["Changed"], again["Revision"]) == ([], 0)
    assert shop.catalog.refresh() == done["Revision"]

    cleared = ["Version", "Family", "Description", "Support", "Successor", "Label"]
    assert sorted(shop.well(UPDATE, {**image, "Clear": cleared}, small.WORKER)["Changed"]) == sorted(cleared)
    found = shown(shop, "c-b", small.WORKER, ProjectId="org-b")
    assert (found["Family"], found["Labels"], found["Runs"], found["Successor"]) == ("", {}, [], "")
    assert (found["Image"]["Version"], found["Image"]["ImageName"]) == ("", "Web")


def test_labels_are_set_and_removed_one_by_one(shop: Shop) -> None:
    shop.well(UPDATE, {**MINE, "Label": ["a=1", "b=2"]}, small.ACME)
    shop.well(UPDATE, {**MINE, "Label": ["b=3", "c=4"], "RemoveLabel": ["a", "none"]}, small.ACME)
    assert shown(shop, "c-a-old")["Labels"] == {"b": "3", "c": "4"}
    full = [f"label{number}=x" for number in range(MAX_LABELS - 2)]
    assert shop.well(UPDATE, {**MINE, "Label": full}, small.ACME)["Changed"] == ["Label"]
    assert shop.ask(UPDATE, {**MINE, "Label": ["more=x"]}, small.ACME).message == "Params [Label] too large"
    assert shop.ask(UPDATE, {**MINE, "Label": ["more=x"], "RemoveLabel": ["b"]}, small.ACME).ret_code == 0


def test_an_image_is_deprecated_now_or_from_a_date_and_listed_again(shop: Shop) -> None:
    def state(**params: object) -> tuple[bool, int, bool]:
        shop.well(UPDATE, {**MINE, **params}, small.ACME)
        found = shown(shop, "c-a-old")
        ids = shop.ask("DescribePHostImage", NORTH_A, small.ACME).ids
        return found["Deprecated"], found["DeprecationTime"], "c-a-old" in ids

    deprecated, since, listed = state(Deprecated="true")
    assert (deprecated, since > 1_700_000_000, listed) == (True, True, False)
    assert state(Deprecated="true") == (True, since, False)
    assert state(Deprecated="false") == (False, 0, True)
    assert state(DeprecationTime=4_000_000_000) == (False, 4_000_000_000, True)
    assert state(DeprecationTime=1_000_000_000) == (True, 1_000_000_000, False)


@pytest.mark.parametrize(
    ("given", "code", "name"),
    [
        ({"Name": None}, 220, "Name"),
        ({"Family": "Not A Family"}, 230, "Family"),
        ({"Zone": ["east-a"]}, 230, "Zone"),
        ({"Support": ["Neither"]}, 230, "Support"),
        ({"Zone": ["north-b"], "Support": ["Slow"]}, 230, "Support"),
        ({"State": "Making"}, 230, "State"),
        ({"State": "Available"}, 299, "State"),
        ({"Deprecated": "true", "DeprecationTime": 1}, 230, "DeprecationTime"),
        ({"DeprecationTime": 253_402_300_800}, 230, "DeprecationTime"),  # the year 10000
        ({"Successor": "c-a-old"}, 230, "Successor"),
        ({"Successor": "c-b"}, 230, "Successor"),
        ({"Successor": "pimg-cs-nobody"}, 230, "Successor"),
        ({"Label": ["team"]}, 230, "Label"),
        ({"Label": ["Team=web"]}, 230, "Label"),
        ({"Label": ["team=" + "x" * 129]}, 240, "Label"),
        ({"RemoveLabel": ["team=web"]}, 230, "RemoveLabel"),
        ({"Clear": ["Name"]}, 230, "Clear"),
        ({"Clear": ["Version"], "Version": "1"}, 230, "Clear"),
        ({"Clear": ["Label"], "RemoveLabel": ["team"]}, 230, "Clear"),
    ],
    ids=str,
)
def test_update_refuses_by_name_and_changes_nothing(given: dict[str, Any], code: int, name: str, shared_shop: Shop) -> None:
    before = shared_shop.catalog.refresh()
    asked = {key: value for key, value in {**MINE, "Name": "new", **given}.items() if value is not None}
    reply = shared_shop.ask(UPDATE, asked, small.ACME)
    assert (reply.ret_code, name in f"{reply.message} {reply.fields['Detail']}") == (code, True)
    assert shared_shop.catalog.refresh() == before


def test_an_image_moves_to_zones_that_its_account_may_use(shared_shop: Shop) -> None:
    def ask(zones: list[str]) -> int:
        request = {"ImageId": "c-f", "Zone": zones}
        return shared_shop.gateway.ask(UPDATE, request, pair=small.FENCED, client=small.INSIDE).ret_code

    assert ask(["north-b"]) == 293
    assert ask(["north-a"]) == 0


# what operators change


def test_the_operator_changes_any_image_and_its_state(shop: Shop) -> None:
    for image, pair in (("b-new", small.RIVAL), ("c-r", small.RIVAL)):
        done = shop.well(UPDATE, {"ImageId": image, "Name": "Changed", "State": "Unavailable"})
        assert done["Changed"] == ["Name", "State"]
        found = shown(shop, image, pair)["Image"]
        assert (found["ImageName"], found["State"]) == ("Changed", "Unavailable")
        assert shop.well(UPDATE, {"ImageId": image, "State": "available"})["Changed"] == ["State"]
    assert shop.well(UPDATE, {"ImageId": "b-new", "Successor": "b-slow"})["Changed"] == ["Successor"]
    assert shop.ask(UPDATE, {"ImageId": "b-new", "Successor": "c-r"}).message == "Params [Successor] not available"
    assert shop.ask(UPDATE, {"ImageId": "pimg-cs-nobody", "Name": "x"}).message == "Params [ImageId] not available"


def test_the_state_of_an_image_without_its_bytes_is_that_of_its_publication(shop: Shop, tmp_path: Path) -> None:
    image = {"ImageId": shop.begin(disk(tmp_path), Digest=SHA)}
    for why in ("it is being published", "its publication failed"):
        reply = shop.ask(UPDATE, {**image, "State": "Available"})
        assert (reply.message, why in reply.fields["Detail"]) == ("Params [State] not available", True)
        if why == "it is being published":
            shop.work(image["ImageId"])


def test_a_change_during_a_publication_outlives_it(shop: Shop, tmp_path: Path) -> None:
    image = shop.begin(disk(tmp_path), small.ACME, **{**ABOUT, "ImageType": "Custom"})
    running = shop.claim(image)
    shop.well(MODIFY, {**NORTH_A, "ImageId": image, "Name": "Meanwhile"}, small.ACME)
    shop.finish(running)
    shop.gateway.learn(shop.catalog.refresh())
    found = shown(shop, image)["Image"]
    assert (found["ImageName"], found["State"]) == ("Meanwhile", "Available")
