"""The clock of a server steps by an hour while it answers: neither is a key locked out, nor has it another burst."""

from __future__ import annotations

import pytest

from phimage.actions import registry
from phimage.actions.service import Service
from phimage.catalog.accounts import NewKey, add_account, put_key
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.gateway.dispatch import Attempt, Dispatcher, RawRequest
from phimage.gateway.rate import RateLimit
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey
from tests.api.signer import Encoding, Pair, signed
from tests.examples import account, author

ACME = Pair("key-acme", "secret-acme")
RATE_LIMITED = 153


class Clocks:
    """A wall clock that steps, and a monotonic one that does not."""

    def __init__(self) -> None:
        self.step = 0.0
        self.passed = 0.0

    def wall(self) -> float:
        return 1_800_000_000.0 + self.passed + self.step

    def monotonic(self) -> float:
        return self.passed


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_key_keeps_its_rate_when_the_clock_steps(catalog: Catalog, step: float) -> None:
    with catalog.change(author()) as change:
        user, _ = add_account(change, account("acme"), lambda length: bytes(range(length)))
        put_key(change, user, catalog.key_encryption, NewKey(PublicKey(ACME.public), PrivateKey(ACME.private)))
    clocks = Clocks()
    limit = RateLimit(rate=1, burst=10)
    service = Service(catalog=catalog, store=MemoryStore())
    dispatcher = Dispatcher(registry(), catalog, service, limit, clock=clocks.wall, monotonic=clocks.monotonic)

    def passed() -> int:
        request = signed("GetRegion", {}, Encoding.FORM, ACME)
        kind = dict(request.headers)["Content-Type"]
        raw = RawRequest("POST", "/", "", kind, request.body, "127.0.0.1", "a-request")
        return sum(dispatcher.answer(raw, Attempt(wait=True)).ret_code != RATE_LIMITED for _ in range(15))

    assert passed() == 10
    clocks.step = step
    assert passed() == 0
    clocks.passed += 5
    assert passed() == 5
