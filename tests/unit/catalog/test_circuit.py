"""Nobody waits for a database that is known to be away."""

from __future__ import annotations

import pytest

from phimage.catalog.circuit import RETRY_SECONDS, Circuit
from phimage.errors import ServiceUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_closed_circuit_lets_everybody_through() -> None:
    circuit = Circuit()
    circuit.check()
    assert (circuit.is_open, circuit.reason) == (False, "")


def test_an_open_circuit_refuses_with_the_reason() -> None:
    circuit = Circuit(Clock())
    circuit.open("it is away")
    with pytest.raises(ServiceUnavailable, match="it is away"):
        circuit.check()


def test_after_a_while_a_caller_may_find_out_whether_it_is_over() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    circuit.open("it is away")
    clock.now += RETRY_SECONDS
    circuit.check()


def test_who_finds_out_that_it_is_over_closes_the_circuit() -> None:
    circuit = Circuit(Clock())
    circuit.open("it is away")
    circuit.close()
    circuit.check()
    assert circuit.reason == ""


def test_what_is_opened_for_good_stays_open() -> None:
    clock = Clock()
    circuit = Circuit(clock)
    circuit.open("use the newer program", for_good=True)
    circuit.close()
    circuit.open("it is away")
    clock.now += 10**9
    with pytest.raises(ServiceUnavailable, match="use the newer program"):
        circuit.check()
