"""Wrong signatures slow down an address, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from phimage.http.proxies import TrustedProxies
from phimage.http.signature_limit import BURST, SignatureLimit

ADDRESS, OTHER, PROXY = "192.0.2.7", "192.0.2.8", "10.0.0.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(client: str, **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"headers": named, "client": (client, 50_000)}


def admitted(limit: SignatureLimit, client: str, tries: int, ret_code: int = 171, **headers: str) -> int:
    return sum(limit.refusal(ret_code, scope(client, **headers)) is None for _ in range(tries))


def test_the_burst_is_answered_and_then_one_a_second() -> None:
    clock = Clock()
    limit = SignatureLimit(TrustedProxies(), clock=clock)

    assert admitted(limit, ADDRESS, 100) == BURST
    clock.now += 0.5
    assert admitted(limit, ADDRESS, 100) == 0
    clock.now += 2.6
    assert admitted(limit, ADDRESS, 100) == 3
    clock.now += 10_000
    assert admitted(limit, ADDRESS, 100) == BURST


def test_a_refusal_names_the_seconds_to_wait() -> None:
    limit = SignatureLimit(TrustedProxies(), burst=1, rate=0.25, clock=Clock())
    assert limit.refusal(172, scope(ADDRESS)) is None

    refused = limit.refusal(171, scope(ADDRESS))

    assert refused is not None
    assert refused.detail == "too many wrong signatures from 192.0.2.7; try again in 4.0 seconds"


def test_addresses_do_not_share() -> None:
    limit = SignatureLimit(TrustedProxies(), clock=Clock())

    assert [admitted(limit, client, 30) for client in (ADDRESS, OTHER)] == [BURST, BURST]


def test_a_network_of_64_bits_is_one_address() -> None:
    limit = SignatureLimit(TrustedProxies(), clock=Clock())

    assert sum(admitted(limit, f"2001:db8:1:2::{number:x}", 1) for number in range(1, 100)) == BURST
    assert admitted(limit, "2001:db8:1:3::1", 100) == BURST


@pytest.mark.parametrize("ret_code", [0, 150, 153, 160, 170, 174, 230, 299])
def test_nothing_else_is_counted_or_refused(ret_code: int) -> None:
    limit = SignatureLimit(TrustedProxies(), clock=Clock())

    assert admitted(limit, ADDRESS, 100, ret_code) == 100
    assert admitted(limit, ADDRESS, 100) == BURST
    assert admitted(limit, ADDRESS, 100, ret_code) == 100


def test_clients_of_a_trusted_proxy_are_counted_by_their_own_address() -> None:
    limit = SignatureLimit(TrustedProxies([PROXY]), clock=Clock())

    assert admitted(limit, PROXY, 100, x_forwarded_for=ADDRESS) == BURST
    assert admitted(limit, PROXY, 100, x_forwarded_for=OTHER) == BURST
    assert admitted(limit, ADDRESS, 100) == 0


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1", PROXY])
def test_an_address_that_stands_for_many_clients_is_not_limited(client: str) -> None:
    assert admitted(SignatureLimit(TrustedProxies([PROXY]), clock=Clock()), client, 100) == 100


@pytest.mark.parametrize("field", ["x_forwarded_for", "via", "forwarded", "x_real_ip"])
def test_a_client_cannot_change_its_address(field: str) -> None:
    limit = SignatureLimit(TrustedProxies([PROXY]), clock=Clock())

    tries = [limit.refusal(171, scope(ADDRESS, **{field: f"127.0.0.{number}"})) for number in range(100)]

    assert tries.count(None) == BURST


def test_the_memory_is_bounded_by_forgetting_the_oldest() -> None:
    limit = SignatureLimit(TrustedProxies(), burst=1, max_addresses=2, clock=Clock())
    first, second, third = (f"192.0.2.{number}" for number in range(3))

    assert [admitted(limit, client, 1) for client in (first, second, third)] == [1, 1, 1]
    assert [admitted(limit, client, 1) for client in (third, second, first)] == [0, 0, 1]
