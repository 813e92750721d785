"""An account that is limited to networks is judged by the caller's own address, which nobody can pretend to."""

from __future__ import annotations

import pytest

from tests.api import small
from tests.api.conftest import Start
from tests.api.gateway import Gateway
from tests.api.signer import signed
from tests.sites import Site

PROXY, SECOND_PROXY = "10.0.0.1", "10.0.0.2"


def _from(gateway: Gateway, client: str, *forwarded: str) -> int:
    request = signed("GetRegion", pair=small.FENCED)
    headers = (*request.headers, *(("X-Forwarded-For", line) for line in forwarded))
    return gateway.replay(request._replace(headers=headers), client=client).ret_code


@pytest.mark.parametrize("client", [small.INSIDE, f"::ffff:{small.INSIDE}", "2001:db8::1"])
def test_an_address_inside_the_networks_is_let_in(small_gateway: Gateway, client: str) -> None:
    assert _from(small_gateway, client) == 0


@pytest.mark.parametrize("client", [small.OUTSIDE, f"::ffff:{small.OUTSIDE}", "2001:db9::1", "", "nonsense"])
def test_an_address_outside_them_gets_294(small_gateway: Gateway, client: str) -> None:
    assert _from(small_gateway, client) == 294


def test_without_trusted_proxies_a_forwarded_address_counts_for_nothing(small_gateway: Gateway) -> None:
    assert _from(small_gateway, small.OUTSIDE, small.INSIDE) == 294
    assert _from(small_gateway, small.INSIDE, small.OUTSIDE) == 0


@pytest.mark.parametrize(
    ("client", "forwarded", "code"),
    [
        (PROXY, (small.INSIDE,), 0),
        (f"::ffff:{PROXY}", (small.INSIDE,), 0),
        (PROXY, (small.OUTSIDE,), 294),
        (PROXY, (f"{small.INSIDE}, {small.OUTSIDE}",), 294),  # the caller wrote the first hop itself
        (PROXY, (f"{small.OUTSIDE}, {small.INSIDE}, {SECOND_PROXY}",), 0),
        (PROXY, (small.INSIDE, small.OUTSIDE), 294),  # a proxy that adds a line instead of a word
        (PROXY, (small.OUTSIDE, small.INSIDE, SECOND_PROXY), 0),
        (PROXY, (), 294),
        (PROXY, ("nonsense",), 294),
        (small.OUTSIDE, (small.INSIDE,), 294),
    ],
)
def test_behind_trusted_proxies_the_last_address_that_is_not_theirs_counts(
    start: Start, small_site: Site, client: str, forwarded: tuple[str, ...], code: int
) -> None:
    gateway = start(small_site, trusted_proxies=("10.0.0.0/8",))
    assert _from(gateway, client, *forwarded) == code
