"""Planning is against the newest revision, whatever the path says."""

from __future__ import annotations

from tests.api import small
from tests.api.gateway import Gateway


def test_a_plan_against_the_past_is_refused(small_gateway: Gateway) -> None:
    reply = small_gateway.ask("PlanCatalog", {"Catalog": "phimage: 1"}, pair=small.OPERATOR, path="/rev/1/")
    assert (reply.ret_code, reply.message) == (230, "Params [rev] not available")
