"""A base URL pins the whole catalogue: the list, places and machine types of then, asked by who may ask now."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from tests.api import small
from tests.api.conftest import Start
from tests.api.gateway import Gateway
from tests.sites import Site

NORTH_A = {"Region": "north", "Zone": "north-a"}

CATALOG = """
phimage: 1
images:
  - {id: pimg-bn-000001, name: newer, family: family-1, os_type: Ubuntu, os_name: Ubuntu, size: 20, version: "2",
     created: "2020-01-01T00:00:00Z", zones: [north-a], support: {Both: [10G]}}
"""


def _apply(gateway: Gateway, catalog: str) -> int:
    reply = gateway.ask("ApplyCatalog", {"Catalog": catalog}, pair=small.OPERATOR)
    assert reply.ret_code == 0, reply.fields
    revision: int = reply.fields["Revision"]
    return revision


def test_a_revision_in_the_path_answers_the_list_of_then(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    before = gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME)
    then = before.headers["x-phimage-revision"]
    now = _apply(gateway, CATALOG)
    pinned = gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path=f"/rev/{then}/")
    assert pinned.images == before.images
    assert pinned.headers["x-phimage-revision"] == then
    after = gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME)
    assert "pimg-bn-000001" in after.ids
    assert after.headers["x-phimage-revision"] == str(now)


def test_a_time_in_the_path_answers_the_list_of_then(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    before = gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME)
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    time.sleep(0.01)  # the clock must tick between the moment and the change
    _apply(gateway, CATALOG)
    assert gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path=f"/at/{moment}/").images == before.images


def test_a_time_before_everything_has_no_regions(small_gateway: Gateway) -> None:
    reply = small_gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path="/at/2001-01-01T00:00:00Z/")
    assert (reply.ret_code, reply.message) == (230, "Params [Region] not available")
    assert reply.headers["x-phimage-revision"] == "0"


@pytest.mark.parametrize("action", ["DescribePHostImage", "DescribePHostMachineType", "GetRegion", "ListZones", "ListRegions"])
def test_every_reading_action_answers_from_the_past(small_gateway: Gateway, action: str) -> None:
    reply = small_gateway.ask(action, {} if action.startswith(("Get", "List")) else NORTH_A, pair=small.ACME, path="/rev/1/")
    if action.startswith("Describe"):
        assert reply.message == "Params [Region] not available"
    else:
        (rows,) = (value for value in reply.fields.values() if isinstance(value, list))
        assert rows == []


def test_who_may_ask_is_judged_by_the_present(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    newest = gateway.ask("GetRegion", pair=small.ACME).headers["x-phimage-revision"]
    assert gateway.ask("DescribePHostImage", NORTH_A, pair=small.RIVAL, path=f"/rev/{newest}/").ret_code == 0
    assert gateway.ask("RevokeAccessKey", {"AccessKey": small.RIVAL.public}, pair=small.OPERATOR).ret_code == 0
    assert gateway.ask("DescribePHostImage", NORTH_A, pair=small.RIVAL, path=f"/rev/{newest}/").ret_code == 172


def test_a_change_in_the_past_is_refused(small_gateway: Gateway) -> None:
    reply = small_gateway.ask("CreateProject", {"Account": "acme", "ProjectName": "x"}, pair=small.OPERATOR, path="/rev/1/")
    assert reply.ret_code == 230
    assert "changes the present" in reply.fields["Detail"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/rev/x/", "rev"),
        ("/rev/99999/", "rev"),
        ("/rev//", "rev"),
        ("/at/yesterday/", "at"),
        ("/at/2001-01-01T00:00:00/", "at"),
        ("/at/2999-01-01T00:00:00Z/", "at"),
        ("/rev/1/at/2001-01-01T00:00:00Z/", "at"),
        ("/limit/many/", "limit"),
        ("/limit/1/limit/2/", "limit"),
    ],
)
def test_a_pin_that_makes_no_sense_is_refused_by_name(small_gateway: Gateway, path: str, name: str) -> None:
    reply = small_gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path=path)
    assert (reply.ret_code, reply.message) == (230, f"Params [{name}] not available")


def test_the_path_sets_the_default_limit_and_the_parameter_wins(small_gateway: Gateway) -> None:
    short = small_gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path="/limit/3/")
    assert len(short.images) == 3
    assert short.total > 3
    asked = small_gateway.ask("DescribePHostImage", {**NORTH_A, "Limit": "4"}, pair=small.ACME, path="/limit/3/")
    assert len(asked.images) == 4


def test_prefixes_combine_with_each_other_and_with_a_base_path(small_gateway: Gateway) -> None:
    reply = small_gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path="/cloud/limit/2/rev/2")
    assert len(reply.images) == 2
    assert reply.headers["x-phimage-revision"] == "2"


def test_a_pin_that_hides_a_newer_version_says_so(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    first = _apply(gateway, CATALOG)
    second = CATALOG.replace("pimg-bn-000001", "pimg-bn-000002").replace("2020-01-01", "2021-01-01")
    _apply(gateway, second)
    pinned = gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME, path=f"/rev/{first}/")
    assert pinned.headers["x-phimage-newer"] == "family-1=pimg-bn-000002"
    assert "x-phimage-newer" not in gateway.ask("DescribePHostImage", NORTH_A, pair=small.ACME).headers
