"""CreateConsoleLogin: the link that signs a person in to the console."""

from __future__ import annotations

import re

from phimage.catalog import console_sessions
from tests.api import small
from tests.api.conftest import both_sites
from tests.api.publishing import Shop
from tests.api.signer import Encoding, Pair, signed_2

LOGIN = "CreateConsoleLogin"
EVERYBODY = [small.ACME, small.VIEWER, small.WORKER]


def key_of(shop: Shop, link: str, now: float) -> str | None:
    with shop.catalog.database.write() as connection:
        return console_sessions.use_code(connection, link.partition("#")[2], now)


@both_sites
def test_every_key_gets_a_link_of_its_own_whose_code_is_in_the_fragment(shop: Shop) -> None:
    links: dict[Pair, dict[str, str | int]] = {pair: shop.well(LOGIN, pair=pair) for pair in EVERYBODY}
    assert len({link["LoginUrl"] for link in links.values()}) == len(EVERYBODY)
    for pair, link in links.items():
        url, expires = str(link["LoginUrl"]), int(link["ExpireTime"])
        assert re.fullmatch(r"http://127\.0\.0\.1/console/login#[A-Za-z0-9_-]{43}", url)
        assert key_of(shop, url, expires - 1) == pair.public
        assert key_of(shop, url, expires - 1) is None


def test_the_link_leads_to_the_address_that_the_caller_used(shop: Shop) -> None:
    request = signed_2(LOGIN, pair=small.ACME)
    reply = shop.gateway.replay(request._replace(headers=(*request.headers, ("Host", "images.example:8443"))))
    assert reply.fields["LoginUrl"].startswith("http://images.example:8443/console/login#")


def test_the_same_request_makes_no_second_link(shop: Shop) -> None:
    request = signed_2(LOGIN, pair=small.ACME)
    assert shop.gateway.replay(request).ret_code == 0
    assert "used before" in shop.gateway.replay(request).fields["Detail"]


def test_a_link_is_not_made_in_the_past_and_changes_no_revision(shop: Shop) -> None:
    before = shop.catalog.refresh()
    assert (
        "changes the present" in shop.gateway.replay(signed_2(LOGIN, {}, Encoding.FORM, small.ACME, "/rev/1/")).fields["Detail"]
    )
    shop.well(LOGIN, pair=small.ACME)
    assert shop.catalog.refresh() == before
