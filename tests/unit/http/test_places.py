"""Places and the shares of their holders."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from phimage.http.places import NoPlace, Places


def places(total: int) -> Places:
    return Places(total, {"project": 0.5, "URL": 0.25})


def taken(of: Places, tries: int, project: str, url: str | None = None) -> tuple[int, str | None]:
    """How many places one holder gets at once, and whose share then ends it. Without a URL each has its own."""
    with ExitStack() as held:
        for number in range(tries):
            try:
                held.enter_context(of.place(project=project, URL=url or f"{project}-{number}"))
            except NoPlace as full:
                return number, full.whose
        return tries, None


def test_a_project_may_hold_half_and_a_url_a_quarter() -> None:
    assert taken(places(64), 100, "a") == (32, "project")
    assert taken(places(64), 100, "a", "one") == (16, "URL")


@pytest.mark.parametrize("total", [1, 2, 3])
def test_each_may_hold_one_however_few_there_are(total: int) -> None:
    assert taken(places(total), 2, "a", "one")[0] == 1


def test_others_get_places_while_one_project_holds_its_share() -> None:
    some = places(8)
    with ExitStack() as held:
        for number in range(4):
            held.enter_context(some.place(project="a", URL=str(number)))
        with pytest.raises(NoPlace):
            held.enter_context(some.place(project="a", URL="another"))
        assert taken(some, 100, "b") == (4, "")
    assert taken(some, 100, "a") == (4, "project")


def test_a_holder_that_is_refused_holds_nothing() -> None:
    some = places(4)
    assert [taken(some, 100, "a") for _ in range(10)] == [(2, "project")] * 10
    assert some._held == {}


def test_a_place_is_given_back_after_an_error() -> None:
    some = places(1)
    with pytest.raises(ValueError, match="bad"), some.place(project="a", URL="one"):
        raise ValueError("bad")
    assert taken(some, 1, "a") == (1, None)


def test_one_who_waits_gets_a_place_once_its_share_allows_it() -> None:
    some = places(4)

    async def hold(project: str, end: asyncio.Event, held: list[str], name: str) -> None:
        async with some.place_within(60, project=project, URL=name):
            held.append(name)
            await end.wait()

    async def main() -> list[str]:
        held: list[str] = []
        ends = {name: asyncio.Event() for name in "abcd"}
        tasks = [asyncio.create_task(hold("one", ends[name], held, name)) for name in "abcd"]
        await asyncio.sleep(0)
        assert held == ["a", "b"]
        ends["b"].set()
        await tasks[1]
        for _ in range(3):
            await asyncio.sleep(0)  # the next one wakes up
        assert held == ["a", "b", "c"]
        for end in ends.values():
            end.set()
        await asyncio.gather(*tasks)
        return held

    assert asyncio.run(main()) == ["a", "b", "c", "d"]


def test_one_who_waits_in_vain_is_refused() -> None:
    some = places(2)

    async def main() -> str:
        async with some.place_within(60, project="a", URL="one"):
            with pytest.raises(NoPlace) as full:
                async with some.place_within(0.01, project="a", URL="two"):
                    pass
        return full.value.whose

    assert asyncio.run(main()) == "project"
