"""What the path of a request says."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.errors import UnavailableParam
from phimage.gateway.path import Pin, read_path


@pytest.mark.parametrize(
    "path", ["", "/", "//", "/ok", "/ok/", "/api/v1/images/", "/revision/5", "/rev5/", "/Rev/5/", "/镜像/"]
)
def test_any_other_path_is_a_base_path_and_asks_for_nothing(path: str) -> None:
    assert read_path(path) == Pin()
    assert not read_path(path).pinned


@pytest.mark.parametrize("path", ["/rev/8123", "/rev/8123/", "rev/8123", "/base/rev/8123/", "/rev/8123/more/", "/rev/0008123/"])
def test_a_revision_can_be_asked_for_with_and_without_trailing_slash_on_any_base_path(path: str) -> None:
    assert read_path(path).revision == 8123
    assert read_path(path).pinned


def test_revision_0_is_the_empty_catalogue_and_not_the_present() -> None:
    assert read_path("/rev/0/").revision == 0
    assert read_path("/rev/0/").pinned


@pytest.mark.parametrize("value", ["", "x", "-1", "+1", "1.0", "1e3", " 1", "٣", "²", "9" * 16, "rev"])
@pytest.mark.parametrize("word", ["rev", "limit"])
def test_what_is_no_number_is_refused_by_the_name_of_the_segment(word: str, value: str) -> None:
    with pytest.raises(UnavailableParam, match=rf"^Params \[{word}\] not available"):
        read_path(f"/{word}/{value}/")


def test_a_default_limit_is_no_pin() -> None:
    assert read_path("/limit/1000/") == Pin(limit=1000)
    assert not read_path("/limit/1000/").pinned
    assert read_path("/limit/0").limit == 0


@pytest.mark.parametrize("path", ["/rev/5/limit/100/", "/limit/100/rev/5", "/a/limit/100/b/rev/5/c"])
def test_prefixes_combine_in_any_order(path: str) -> None:
    assert read_path(path) == Pin(revision=read_path("/rev/5").revision, limit=100)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/rev/5/rev/5", "rev"),
        ("/limit/1/limit/2", "limit"),
        ("/at/2026-11-01T00:00:00Z/at/2026-11-01T00:00:00Z", "at"),
        ("/rev/5/at/2026-11-01T00:00:00Z", "at"),
        ("/at/2026-11-01T00:00:00Z/rev/5", "rev"),
    ],
)
def test_a_path_that_says_it_twice_is_refused(path: str, word: str) -> None:
    with pytest.raises(UnavailableParam, match=rf"^Params \[{word}\] not available.*twice"):
        read_path(path)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59Z", -1_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
        ("2023-11-14T22:13:20.123456Z", 1_700_000_000_123_456),
        ("2023-11-15T06:13:20+08:00", 1_700_000_000_000_000),
        ("2023-11-14T16:43:20-05:30", 1_700_000_000_000_000),
    ],
)
def test_a_time_is_microseconds_since_1970_whatever_its_zone(text: str, microseconds: int) -> None:
    assert read_path(f"/at/{text}/") == Pin(time=microseconds)
    assert read_path(f"/at/{text}").pinned


@pytest.mark.parametrize(
    "value",
    ["", "now", "2026-11-01", "2026-11-01T00:00:00", "1700000000", "2026-13-01T00:00:00Z", "2026-11-01T25:00:00Z", "rev"],
)
def test_a_time_without_its_zone_or_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(UnavailableParam, match=r"^Params \[at\] not available"):
        read_path(f"/at/{value}/")


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=8)), timezone(-timedelta(hours=3, minutes=30))])))
def test_every_time_is_read_to_the_microsecond(time: datetime) -> None:
    exact = (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    assert read_path(f"/at/{time.isoformat()}/").time == exact


SEGMENTS = st.sampled_from(["rev", "at", "limit", "5", "0", "base", "", "2026-11-01T00:00:00Z", "é"]) | st.text(max_size=30)


@given(st.lists(SEGMENTS, max_size=8).map("/".join))
def test_no_path_gives_anything_but_an_answer_or_a_refusal(path: str) -> None:
    with suppress(UnavailableParam):
        found = read_path(path)
        assert found.revision is None or found.time is None
