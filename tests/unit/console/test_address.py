"""The address of a page holds all of its state."""

from __future__ import annotations

import pytest

from phimage.console.address import MAX_PARAMS, MAX_QUERY, Address, read_address

HERE = Address("/console/images", {"Zone": "cn-bj2-02", "q": "a&b=ü", "page": "3", "rev": "8"})


def test_an_address_that_is_written_is_read_again() -> None:
    path, _, query = HERE.href().partition("?")

    assert read_address(path, query) == HERE


def test_an_address_with_more_parameters_than_any_page_has_is_read_without() -> None:
    few, many = ("&".join(f"q{number}=1" for number in range(count)) for count in (MAX_PARAMS, MAX_PARAMS + 1))

    assert len(read_address("/console/", few).params) == MAX_PARAMS
    assert read_address("/console/", many).params == {}


def test_an_address_that_every_link_of_a_page_would_repeat_is_not_a_hundred_kilobytes_long() -> None:
    assert read_address("/console/", f"q={'a' * (MAX_QUERY - 2)}").get("q")
    assert read_address("/console/", f"q={'a' * (MAX_QUERY - 1)}").params == {}


@pytest.mark.parametrize("prefix", ["/w/t1", "/w/t1/fault/ret-153@DescribePHostImage:first=2,delay-0.5s"])
def test_below_a_prefix_all_addresses_have_it(prefix: str) -> None:
    here = read_address("/console/images/a", "rev=8", prefix)

    assert here.page == "images/a"
    assert here.root == f"{prefix}/console/"
    assert here.href() == f"{prefix}/console/images/a?rev=8"
    assert here.link("matrix") == f"{prefix}/console/matrix?rev=8"
    assert here.plain_link("login") == f"{prefix}/console/login"
    assert here.kept == "?rev=8"


def test_a_changed_parameter_leaves_the_others_and_an_empty_one_goes() -> None:
    assert HERE.href(page=None, q="") == "/console/images?Zone=cn-bj2-02&rev=8"
    assert HERE.href(page=4, q=None).endswith("page=4&rev=8")


def test_links_to_other_pages_keep_the_catalogue_and_the_place_alone() -> None:
    assert HERE.link("matrix") == "/console/matrix?rev=8&Zone=cn-bj2-02"
    assert HERE.link("images/x", rev=None) == "/console/images/x?Zone=cn-bj2-02"
    assert HERE.link("images/a b<").startswith("/console/images/a%20b%3C")


@pytest.mark.parametrize(
    ("params", "pin"),
    [
        ({}, "/"),
        ({"rev": "8"}, "/rev/8/"),
        ({"at": "2026-11-01T00:00:00"}, "/at/2026-11-01T00:00:00Z/"),
        ({"at": "2026-11-01T00:00:00Z"}, "/at/2026-11-01T00:00:00Z/"),
        ({"at": "2026-11-01T08:00:00+08:00"}, "/at/2026-11-01T08:00:00+08:00/"),
        ({"at": "2026-10-31T19:00:00-05:00"}, "/at/2026-10-31T19:00:00-05:00/"),
    ],
)
def test_a_time_without_a_zone_is_in_utc(params: dict[str, str], pin: str) -> None:
    assert Address("/console/images", params).pin == pin


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1e9", "٣", "9" * 30])
def test_a_page_that_is_no_number_is_the_first(text: str) -> None:
    assert Address("/console/images", {"page": text}).number("page", 1) == 1
