"""The change feed tells a project what happened to the images that it can see, and nothing else."""

from __future__ import annotations

import pytest

from tests.api import small
from tests.api.conftest import Start
from tests.api.gateway import Gateway, running
from tests.api.publishing import Shop
from tests.sites import Site

CATALOG = """
phimage: 1
images:
  - {id: pimg-bn-000001, name: newer, family: f, os_type: Ubuntu, os_name: Ubuntu, size: 20, version: "2",
     created: "2020-01-01T00:00:00Z", zones: [north-a], support: {Both: [10G]}}
"""


def test_a_project_sees_base_images_and_its_own_but_no_others(small_gateway: Gateway) -> None:
    changes = small_gateway.ask("ListPHostImageChanges", pair=small.ACME).fields["ChangeSet"]
    seen = {change["ImageId"]: change["ImageType"] for change in changes}
    assert {"c-a-old", "c-a-new"} <= seen.keys()
    assert not {"c-b", "c-r", "c-f"} & seen.keys()
    assert {seen[image] for image in small.BASE_OF_NORTH_A} == {"Base"}
    assert seen["c-a-old"] == "Custom"
    assert {change["Change"] for change in changes} == {"added"}


def test_asking_again_after_next_misses_nothing_and_repeats_nothing(small_gateway: Gateway) -> None:
    whole = small_gateway.ask("ListPHostImageChanges", pair=small.ACME).fields
    pieces, after = [], 0
    while True:
        fields = small_gateway.ask("ListPHostImageChanges", {"After": after, "Limit": 1}, pair=small.ACME).fields
        pieces += fields["ChangeSet"]
        if fields["Next"] == after:
            break
        after = fields["Next"]
    assert pieces == whole["ChangeSet"]
    assert after == whole["Newest"]


def test_a_change_that_the_project_cannot_see_moves_the_cursor_and_tells_nothing(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    before = gateway.ask("ListPHostImageChanges", pair=small.ACME).fields["Newest"]
    assert gateway.ask("CreateProject", {"Account": "rival", "ProjectName": "x"}, pair=small.OPERATOR).ret_code == 0
    fields = gateway.ask("ListPHostImageChanges", {"After": before}, pair=small.ACME).fields
    assert (fields["ChangeSet"], fields["Next"]) == ([], before + 1)


def test_nothing_new_is_answered_when_the_wait_is_over(small_gateway: Gateway) -> None:
    newest = small_gateway.ask("ListPHostImageChanges", pair=small.ACME).fields["Newest"]
    fields = small_gateway.ask("ListPHostImageChanges", {"After": newest, "Wait": 1}, pair=small.ACME).fields
    assert (fields["ChangeSet"], fields["Next"], fields["Newest"]) == ([], newest, newest)


def test_who_waits_is_told_at_once_when_something_happens(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    newest = gateway.ask("ListPHostImageChanges", pair=small.ACME).fields["Newest"]
    waiting, applied = gateway.together(
        ("ListPHostImageChanges", {"After": newest, "Wait": 20}, small.ACME),
        ("ApplyCatalog", {"Catalog": CATALOG}, small.OPERATOR),
    )
    assert applied.ret_code == 0, applied.fields
    assert waiting.fields["Next"] == newest + 1
    assert {change["Change"] for change in waiting.fields["ChangeSet"]} == {"added"}


@pytest.mark.parametrize("wait", ["26", "-1"])
def test_a_wait_that_clients_would_not_sit_through_is_refused(small_gateway: Gateway, wait: str) -> None:
    reply = small_gateway.ask("ListPHostImageChanges", {"Wait": wait}, pair=small.ACME)
    assert (reply.ret_code, reply.message) == (230, "Params [Wait] not available")


def test_a_pinned_feed_ends_at_its_revision_and_does_not_wait(small_gateway: Gateway) -> None:
    fields = small_gateway.ask("ListPHostImageChanges", {"Wait": 25, "After": 1}, pair=small.ACME, path="/rev/1/").fields
    assert (fields["ChangeSet"], fields["Newest"]) == ([], 1)


def test_the_changes_of_one_image_alone_can_be_asked_for(small_gateway: Gateway) -> None:
    def of(image: str) -> list[str]:
        fields = small_gateway.ask("ListPHostImageChanges", {"ImageId": image}, pair=small.ACME).fields
        return [change["ImageId"] for change in fields["ChangeSet"]]

    assert set(of("b-new")) == {"b-new"}
    assert set(of("c-a-old")) == {"c-a-old"}
    assert of("c-r") == [], "another account's"


def test_a_quota_is_no_image(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    before = gateway.ask("ListPHostImageChanges", pair=small.ACME).fields["Newest"]
    assert gateway.ask("SetQuota", {"Project": "org-a", "Limit": 1 << 40}, pair=small.OPERATOR).ret_code == 0
    fields = gateway.ask("ListPHostImageChanges", {"After": before}, pair=small.ACME).fields
    assert (fields["ChangeSet"], fields["Next"]) == ([], before + 1)


def test_a_process_that_knows_less_than_its_caller_does_not_send_the_caller_back(shop: Shop) -> None:
    with running(shop.settings, watching=False) as behind:  # it learns of nothing by itself
        shop.well("SetQuota", {"Project": "org-a", "Limit": 1 << 40})
        after = shop.well("ListPHostImageChanges", {}, small.ACME)["Next"]
        fields = behind.ask("ListPHostImageChanges", {"After": after}, pair=small.ACME).fields
        too_far = behind.ask("ListPHostImageChanges", {"After": after + 1}, pair=small.ACME).fields

    assert (fields["ChangeSet"], fields["Next"]) == ([], after)
    assert too_far["Next"] == after, "no process has told of it: of a database from a backup, for example"
