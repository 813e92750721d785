"""What is remembered has a bound: the weight of all of it together."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.errors import NotCached
from phimage.model.ids import Revision
from phimage.revision_cache import RevisionCache, ScopeVersions

ONE = Revision(1)


def known(memory: RevisionCache, names: str) -> str:
    """Those of some names that are remembered, without asking in an order that would change anything."""
    found = ""
    for name in names:
        with suppress(NotCached):
            memory.get(name, ONE)
            found += name
    return found


def test_what_was_not_asked_for_longest_makes_room() -> None:
    memory = RevisionCache(10, ScopeVersions(100))
    for name, weight in (("a", 4), ("b", 4), ("c", 2)):
        memory.put(name, name, ONE, (), weight)
    memory.get("a", ONE)

    memory.put("d", "d", ONE, (), 3)

    assert known(memory, "abcd") == "acd"


def test_a_value_that_is_kept_again_counts_once() -> None:
    memory = RevisionCache(10, ScopeVersions(100))
    for _ in range(20):
        memory.put("a", "a", ONE, (), 5)
    memory.put("b", "b", ONE, (), 5)

    assert known(memory, "ab") == "ab"


def test_what_would_take_more_than_half_is_not_remembered_and_costs_nothing_else() -> None:
    memory = RevisionCache(10, ScopeVersions(100))
    for name in "abcd":
        memory.put(name, name, ONE, (), 2)

    memory.put("large", "large", ONE, (), 6)

    assert known(memory, "abcd") == "abcd"
    with pytest.raises(NotCached):
        memory.get("large", ONE)


def test_a_value_that_grew_too_large_takes_the_old_one_away() -> None:
    memory = RevisionCache(10, ScopeVersions(100))
    memory.put("a", "old", ONE, (), 1)
    memory.put("a", "new", ONE, (), 6)

    with pytest.raises(NotCached):
        memory.get("a", ONE)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 9)), max_size=60))
def test_the_bound_holds_whatever_is_kept(kept: list[tuple[str, int]]) -> None:
    memory = RevisionCache(10, ScopeVersions(100))
    weights: dict[str, int] = {}
    for name, weight in kept:
        memory.put(name, name, ONE, (), weight)
        weights[name] = weight
    assert sum(weights[name] for name in known(memory, "abcdefgh")) <= 10
