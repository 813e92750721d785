"""What pages are made of: pages of a list, columns, charts, numbers, the feed as people read it, and snippets."""

from __future__ import annotations

import ast
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.actions.feed import ImageChange
from phimage.console.address import Address
from phimage.console.charts import WIDTH, bars, days_chart
from phimage.console.pages.log import one_of_each
from phimage.console.pages.snippets import snippets
from phimage.console.pagination import columns, pages_of
from phimage.console.rendering import bytes_text, percent, time_element


def address(**params: str) -> Address:
    return Address("/console/images", params)


@given(total=st.integers(0, 400), number=st.integers(1, 12))
def test_every_row_is_on_exactly_one_page(total: int, number: int) -> None:
    shown = max(0, min(50, total - (number - 1) * 50))
    pages = pages_of(address(page=str(number)), total, shown)

    assert (pages.last - pages.first + 1 if shown else pages.last) == shown
    assert bool(pages.next) == (number * 50 < total)
    assert bool(pages.previous) == (number > 1)
    assert "page=1&" not in pages.previous


def test_a_second_click_turns_the_order_round() -> None:
    def created(sort: str) -> Any:
        return columns(address(sort=sort), ["name", "created"], sortable=["name", "created"], descending=["created"])[1]

    assert created("").href.endswith("sort=-created")
    assert (created("-created").order, created("-created").href.endswith("sort=created")) == ("descending", True)
    assert (created("created").order, created("created").href.endswith("sort=-created")) == ("ascending", True)


@given(parts=st.lists(st.integers(0, 10**15), max_size=4))
def test_bars_stay_within_their_width_and_small_parts_are_seen(parts: list[int]) -> None:
    found = bars(parts, sum(parts))

    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH + 0.2 for bar in found)
    assert [bar.width > 0 for bar in found[:1]] == [part > 0 for part in parts[:1]]


def test_the_highest_day_has_the_height_of_the_chart() -> None:
    chart = days_chart([(0, 0, 0), (86_400, 1, 3), (172_800, 2, 0)])

    assert (chart.most, chart.total) == (4, 3)
    assert chart.days[1].publications_height + chart.days[1].changes_height == chart.height
    assert chart.days[1].changes_y == 0
    assert chart.days[0].publications_height == 0
    assert days_chart([(0, 0, 0)]).most == 0


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (182 << 20, "182 MiB"), (40 << 30, "40 GiB"), (5 << 40, "5 TiB")],
)
def test_bytes_have_the_unit_that_people_expect(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_a_percentage_stays_between_0_and_100() -> None:
    assert [percent(1, 3), percent(5, 3), percent(0, 0), percent(-1, 3)] == [33, 100, 0, 0]


def test_a_time_is_in_utc_and_names_its_moment() -> None:
    shown = time_element(1_790_000_000)

    assert 'datetime="2026-09-21T14:13:20Z"' in shown
    assert ">2026-09-21 14:13<" in shown
    assert time_element("2026-09-21T16:13:20.5+02:00") == shown
    assert time_element(0) == "–"


def change(image: str, verb: str, revision: int = 5) -> ImageChange:
    return ImageChange(revision=revision, time="", image_id=image, image_type="Base", change=verb)


def test_an_image_is_once_in_a_revision() -> None:
    feed = [("a", "added", 5), ("a", "added", 5), ("b", "changed", 5), ("b", "added", 5), ("a", "changed", 4)]
    found = one_of_each(change(*each) for each in [*feed, ("c", "changed", 5), ("c", "withdrawn", 5)])

    assert [(each.image_id, each.revision, each.change) for each in found] == [
        ("a", 5, "added"),
        ("b", 5, "changed"),
        ("a", 4, "changed"),
        ("c", 5, "withdrawn"),
    ]


class Asked:
    """A visit, as far as snippets need it."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def base_url(self) -> str:
        return "https://images.example.com"


NASTY = 'it\'s "$(id)" `x` \\ ü & <b>'


def test_snippets_repeat_exactly_the_question_and_quote_what_people_typed() -> None:
    params = {"Zone": "cn-bj2-02", "Text": NASTY, "Label": ["a=b"], "HasBytes": True, "Deprecated": "include"}
    found = {snippet.client: snippet.text for snippet in snippets(Asked(address(rev="8")), "FindPHostImages", params)}  # type: ignore[arg-type]

    words = shlex.split(found["phimage"])
    assert words[:5] == ["phimage", "image", "ls", "--endpoint", "https://images.example.com/rev/8"]
    assert f"--text={NASTY}" in words
    assert "--has-bytes" in words
    call = next(node for node in ast.walk(ast.parse(found["Python"])) if isinstance(node, ast.Call) and len(node.args) == 2)
    assert ast.literal_eval(call.args[1]) == params
    assert shlex.split(found["ucloud CLI"])[-1] == "include"
    assert "Terraform" not in found, "its data source cannot search for a text"
    assert "KEY" not in found["phimage"] + found["curl"] + found["ucloud CLI"]


def test_the_question_of_a_terraform_data_source_has_one() -> None:
    asked = {"Zone": "cn-bj2-02", "MachineType": "DB-2", "Deprecated": "include"}
    found = {snippet.client: snippet.text for snippet in snippets(Asked(address()), "FindPHostImages", asked)}  # type: ignore[arg-type]

    assert 'instance_type     = "DB-2"' in found["Terraform"]
    assert 'base_url = "https://images.example.com/limit/1000"' in found["Terraform"]


def test_what_people_typed_runs_nothing_in_terraform() -> None:
    asked = {"Zone": "cn-bj2-02", "MachineType": '${file("key")}%{ if true }'}
    found = {snippet.client: snippet.text for snippet in snippets(Asked(address()), "FindPHostImages", asked)}  # type: ignore[arg-type]

    assert r'= "$${file(\"key\")}%%{ if true }"' in found["Terraform"]


def test_only_phimage_can_ask_for_the_images_of_all_projects() -> None:
    found = snippets(Asked(address()), "FindPHostImages", {"ProjectId": "all"})  # type: ignore[arg-type]

    assert [snippet.client for snippet in found] == ["phimage"]
