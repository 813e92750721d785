"""What the texts of the endpoint mean: rules of faults, paths, durations, times and transitions; and where ids come from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.ci.clock import Draws, WorldClock
from phimage.ci.fault import IMAGES, FaultCounts, read_rule
from phimage.ci.path import read_world_path
from phimage.ci.transition import IMMEDIATE, Transition, read_transition, shown_transition
from phimage.ci.values import BadControl, read_duration, read_time

WRONG_RULES = [
    "",
    "ret",
    "ret-1",
    "http-200",
    "http-99",
    "delay-",
    "hang-1",
    "cut-1XiB",
    "slow-0",
    "lost:second=1",
    "lost:nth=0",
    "x@",
    "delay-1s@Größe",
    "ret-153:first=٣",
]


@pytest.mark.parametrize("text", WRONG_RULES)
def test_a_rule_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadControl):
        read_rule(text)


@pytest.mark.parametrize(
    ("text", "what", "value"),
    [
        ("ret-153", "ret", 153),
        ("delay-1.5s", "delay", 1.5),
        ("cut-1MiB", "cut", 1 << 20),
        ("flip-4096", "flip", 4096),
        ("hang", "hang", 0),
    ],
)
def test_a_rule_has_what_it_does_and_how_much(text: str, what: str, value: float) -> None:
    rule = read_rule(f"{text}@GetRegion:every=3")
    assert (rule.what, rule.value, rule.action, rule.turn, rule.number) == (what, value, "GetRegion", "every", 3)


@given(st.integers(1, 20), st.integers(1, 40))
def test_a_rule_strikes_as_many_requests_as_it_says(number: int, requests: int) -> None:
    struck = {
        turn: sum(read_rule(f"hang:{turn}={number}").strikes(at + 1) for at in range(requests))
        for turn in ("first", "every", "nth")
    }
    assert struck == {"first": min(number, requests), "every": requests // number, "nth": int(requests >= number)}


def test_counts_are_those_of_a_rule_and_of_the_users_of_a_url() -> None:
    counts, rule = FaultCounts(), read_rule("lost:nth=2")
    counts.add(rule)
    assert [bool(counts.struck("A", "/w/x", ())) for _ in range(3)] == [False, True, False]
    assert [bool(FaultCounts().struck("A", prefix, [rule])) for prefix in ("/w/x", "/w/x")] == [False, False]
    counts.clear()
    assert [bool(counts.struck("A", prefix, [rule])) for prefix in ("/a", "/b", "/a")] == [False, False, True]


def test_a_ret_code_concerns_actions_alone_and_counts_what_is_signed() -> None:
    counts = FaultCounts()
    counts.add(read_rule("ret-153:first=1"))
    assert counts.struck(IMAGES, "", ()) == counts.struck("", "", ()) == ()
    assert counts.struck("GetRegion", "", (), is_signed=False) == ()
    assert len(counts.struck("GetRegion", "", ())) == 1


@pytest.mark.parametrize(
    ("path", "world", "faults", "prefix", "rest"),
    [
        ("/", "default", [], "", "/"),
        ("/w/a", "a", [], "/w/a", "/"),
        ("/w/a/", "a", [], "/w/a", "/"),
        ("/w/a/at/2027-01-01T00:00:00Z/", "a", [], "/w/a", "/at/2027-01-01T00:00:00Z/"),
        ("/w/a/fault/hang,lost/rev/3/", "a", ["hang", "lost"], "/w/a/fault/hang,lost", "/rev/3/"),
        ("/fault/hang/fault/lost", "default", ["hang", "lost"], "/fault/hang/fault/lost", "/"),
        ("/v1/fault/hang/", "default", [], "", "/v1/fault/hang/"),
        ("/world/a/", "default", [], "", "/world/a/"),
    ],
)
def test_a_path_names_its_world_and_faults(path: str, world: str, faults: list[str], prefix: str, rest: str) -> None:
    found = read_world_path(path)
    assert (found.world, [rule.text for rule in found.faults], found.prefix, found.rest) == (world, faults, prefix, rest)


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "x" * 129])
def test_a_name_that_cannot_be_a_worlds_is_refused(name: str) -> None:
    with pytest.raises(BadControl):
        read_world_path(f"/w/{name}/")


def test_durations_and_times_are_read() -> None:
    assert [read_duration(text, "x") for text in ("90s", "5m", "2h", "1d", "250ms", "7", 3, 0.5)] == [
        90,
        300,
        7200,
        86400,
        0.25,
        7,
        3,
        0.5,
    ]
    assert read_time("2027-01-01T00:00:00Z", "x") == read_time("2027-01-01T08:00:00+08:00", "x") == 1_798_761_600
    no_durations: list[object] = ["", "5 m", "-1s", "1w", None, True, [], -1]
    for wrong in no_durations:
        with pytest.raises(BadControl):
            read_duration(wrong, "x")
    for wrong in ("2027-01-01T00:00:00", "tomorrow", None):
        with pytest.raises(BadControl):
            read_time(wrong, "x")


def test_a_clock_is_frozen_until_it_runs_and_never_goes_back() -> None:
    real = [100.0]
    clock = WorldClock(1000, lambda: real[0])
    real[0] += 5
    assert clock() == 1000
    clock.run(True)
    real[0] += 5
    assert clock() == 1005
    clock.advance(60)
    assert clock() == 1065
    clock.run(False)
    real[0] += 5
    assert clock() == 1065
    with pytest.raises(BadControl):
        clock.set(1064)
    with pytest.raises(BadControl):
        clock.advance(1e12)


@pytest.mark.parametrize("value", ["immediate", "stuck", {"time": 300.0}, {"looks": 3}, {"fail": "full", "after": 120.0}])
def test_a_transition_is_shown_as_it_was_given(value: object) -> None:
    assert shown_transition(read_transition(value)) == value


def test_a_transition_is_due_by_time_by_looks_or_never() -> None:
    assert IMMEDIATE.is_due(0, 0)
    assert not Transition(stuck=True).is_due(1e9, 1000)
    timed, looked = Transition(seconds=300), Transition(looks=3)
    assert [timed.is_due(at, 0) for at in (299.9, 300)] == [False, True]
    assert [looked.is_due(0, looks) for looks in (2, 3)] == [False, True]
    assert (timed.share(150, 0), Transition(stuck=True).share(9, 9)) == (0.5, 0.0)
    assert looked.share(0, 1) == pytest.approx(1 / 3)


def test_ids_depend_on_the_seed_and_earlier_draws_of_their_length_alone() -> None:
    one, other = Draws("7"), Draws("7")
    other(32)  # a key in between
    assert [one(8), one(8), one(12)] == [other(8), other(8), other(12)]
    assert one(8) != one(8)
    assert Draws("7")(8) != Draws("8")(8)
    assert Draws("7")(8) != Draws("7", "requests")(8)
    assert next(Draws("7").uuids())[14] == "4"
