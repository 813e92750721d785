"""A key that sends more than its rate gets 153, and only that key does; so does an address with too many wrong signatures."""

from __future__ import annotations

from phimage.http.signature_limit import BURST
from tests.api import small
from tests.api.conftest import Start
from tests.api.signer import signed
from tests.sites import Site


def test_a_key_over_its_rate_gets_153_and_others_do_not(start: Start, small_site: Site) -> None:
    gateway = start(small_site, rate=0.001, burst=5)
    replies = [gateway.ask("GetRegion", pair=small.ACME) for _ in range(7)]
    assert [reply.ret_code for reply in replies] == [0] * 5 + [153] * 2
    assert replies[-1].message == "Request rate limited"
    assert "try again in" in replies[-1].fields["Detail"]
    assert gateway.ask("GetRegion", pair=small.RIVAL).ret_code == 0


def test_the_rate_comes_after_the_address_and_before_the_action(start: Start, small_site: Site) -> None:
    gateway = start(small_site, rate=0.001, burst=1)
    inside = gateway.ask("NoSuchAction", pair=small.FENCED, client=small.INSIDE)
    assert inside.ret_code == 161
    assert gateway.ask("NoSuchAction", pair=small.FENCED, client=small.INSIDE).ret_code == 153
    assert gateway.ask("NoSuchAction", pair=small.FENCED, client=small.OUTSIDE).ret_code == 294


def test_a_request_counts_once_however_often_it_is_tried_inside(start: Start, small_site: Site) -> None:
    gateway = start(small_site, rate=0.001, burst=3)
    newest = gateway.ask("ListPHostImageChanges", pair=small.ACME).fields["Newest"]
    waited = gateway.ask("ListPHostImageChanges", {"After": newest, "Wait": 1}, pair=small.ACME)
    assert waited.ret_code == 0
    assert gateway.ask("GetRegion", pair=small.ACME).ret_code == 0
    assert gateway.ask("GetRegion", pair=small.ACME).ret_code == 153


def test_a_wrong_signature_spends_nothing(start: Start, small_site: Site) -> None:
    gateway = start(small_site, rate=0.001, burst=1)
    forged = small.ACME._replace(private="another")
    assert [gateway.ask("GetRegion", pair=forged).ret_code for _ in range(3)] == [171] * 3
    assert gateway.ask("GetRegion", pair=small.ACME).ret_code == 0


def test_wrong_signatures_limit_an_address_and_never_a_right_signature(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    forged, unknown = small.ACME._replace(private="another"), small.ACME._replace(public="unknown")
    codes = [gateway.ask("GetRegion", pair=pair, client="192.0.2.9").ret_code for pair in (forged, unknown) * (BURST // 2)]
    assert codes == [171, 172] * (BURST // 2)

    replies = (gateway.ask("GetRegion", pair=forged, client="192.0.2.9") for _ in range(1000))
    refused = next(reply for reply in replies if reply.ret_code != 171)  # not at once: the bucket fills meanwhile
    assert (refused.ret_code, refused.message) == (153, "Request rate limited")
    assert "too many wrong signatures from 192.0.2.9" in refused.fields["Detail"]
    assert gateway.ask("GetRegion", pair=small.ACME, client="192.0.2.9").ret_code == 0
    assert gateway.ask("GetRegion", pair=forged, client="192.0.2.10").ret_code == 171
    assert gateway.ask("GetRegion", pair=forged).ret_code == 171


def test_downloads_count_wrong_signatures_together_with_actions(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    request = signed("DownloadPHostImage", {"ImageId": "pimg-a"}, pair=small.ACME._replace(private="another"))
    query = request.body.decode()

    statuses = [gateway.fetch("GET", f"/images/pimg-a.raw?{query}", client="192.0.2.9").status for _ in range(BURST)]
    assert statuses == [401] * BURST
    more = (gateway.fetch("GET", f"/images/pimg-a.raw?{query}", client="192.0.2.9").status for _ in range(1000))
    assert next(status for status in more if status != 401) == 429
