"""A cache of bounded weight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phimage.lru import Lru


def cached(lru: Lru[str, str], keys: str) -> str:
    return "".join(key for key in keys if lru.get(key) is not None)


def test_the_least_recently_used_value_is_evicted_first() -> None:
    lru: Lru[str, str] = Lru(3)
    for key in "abc":
        lru.put(key, key)
    lru.get("a")

    lru.put("d", "d")

    assert cached(lru, "abcd") == "acd"


def test_the_last_value_stays_whatever_it_weighs() -> None:
    lru: Lru[str, str] = Lru(3)
    lru.put("a", "a")
    lru.put("large", "large", 10)

    assert (lru.get("a"), lru.get("large")) == (None, "large")


def test_a_removed_value_frees_its_weight() -> None:
    lru: Lru[str, str] = Lru(3)
    lru.put("a", "a", 3)
    lru.remove("a")
    lru.remove("a")
    lru.put("b", "b", 2)
    lru.put("c", "c", 1)

    assert cached(lru, "abc") == "bc"


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 5))))
def test_the_total_weight_stays_within_the_limit(puts: list[tuple[str, int]]) -> None:
    lru: Lru[str, int] = Lru(6)
    for key, weight in puts:
        lru.put(key, weight, weight)

        assert lru.get(key) == weight
        assert sum(lru.get(key) or 0 for key in "abcde") <= 6
