"""The limits of connections, with a clock of the test's own."""

from __future__ import annotations

import pytest

from phimage.http.counters import ConnectionCounters
from phimage.processes.connections import ConnectionLimits, Connections, Waiting


class FakeConnection:
    """Records its end. `makes_progress`: it may wait once more."""

    def __init__(self, *, makes_progress: bool = False) -> None:
        self.makes_progress = makes_progress
        self.expired: list[Waiting] = []
        self.closed = False

    def expire(self, waiting: Waiting) -> bool:
        self.expired.append(waiting)
        return not self.makes_progress

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def connections(limits: ConnectionLimits, *exempt: str) -> tuple[Connections, ConnectionCounters]:
    counters = ConnectionCounters()
    return Connections(limits, counters, lambda address: address in exempt), counters


def test_each_wait_has_its_time_and_the_oldest_end_first() -> None:
    made, counters = connections(ConnectionLimits(header=10, idle=75, stall=60))
    header, idle, reader, later = (FakeConnection() for _ in range(4))
    made.sweep(0)
    for connection, waiting in ((header, Waiting.HEADER), (idle, Waiting.IDLE), (reader, Waiting.READER)):
        made.wait(connection, waiting)
    made.sweep(5)
    made.wait(later, Waiting.HEADER)
    made.sweep(10)
    assert (header.expired, later.expired, idle.expired, reader.expired) == ([Waiting.HEADER], [], [], [])
    made.sweep(70)
    assert (later.expired, reader.expired, idle.expired) == ([Waiting.HEADER], [Waiting.READER], [])
    made.sweep(75)
    assert idle.expired == [Waiting.IDLE]
    assert counters.ended == {"header": 2, "idle": 1, "stalled": 1, "full": 0, "address": 0}


def test_what_makes_progress_waits_once_more() -> None:
    made, counters = connections(ConnectionLimits(stall=60))
    reader = FakeConnection(makes_progress=True)
    made.sweep(0)
    made.wait(reader, Waiting.READER)
    made.sweep(60)
    made.sweep(119)
    assert len(reader.expired) == 1
    reader.makes_progress = False
    made.sweep(120)
    assert (len(reader.expired), counters.ended["stalled"]) == (2, 1)


@pytest.mark.parametrize(
    "addresses",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::3", "2001:db8:1:2:ffff::9"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_a_client_has_so_many_connections_and_may_have_another_when_one_ends(addresses: tuple[str, str]) -> None:
    made, counters = connections(ConnectionLimits(per_address=2), "203.0.113.1")
    first, second = addresses
    assert [made.admit(first), made.admit(second), made.admit(second)] == [True, True, False]
    assert made.admit("198.51.100.1")
    assert all(made.admit("203.0.113.1") for _ in range(9)), "an exempt address"
    made.release(first)
    assert (made.admit(second), counters.ended["address"]) == (True, 1)


def test_addresses_that_are_not_one_client_are_counted_apart() -> None:
    made, _ = connections(ConnectionLimits(per_address=1))
    addresses = ("2001:db8:1:2::3", "2001:db8:1:3::3", "::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.9")
    assert all(made.admit(address) for address in addresses)


def test_a_full_process_ends_the_oldest_idle_connection_and_refuses_when_all_are_busy() -> None:
    made, counters = connections(ConnectionLimits(connections=2, per_address=0))
    old, new = FakeConnection(), FakeConnection()
    assert made.admit("192.0.2.1")
    assert made.admit("192.0.2.2")
    made.wait(old, Waiting.IDLE)
    made.wait(new, Waiting.IDLE)
    assert made.admit("192.0.2.3")
    assert (old.closed, new.closed) == (True, False)
    made.forget(old)
    made.forget(new)
    assert not made.admit("192.0.2.4")
    assert counters.ended["full"] == 2
