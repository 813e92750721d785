from __future__ import annotations

import pytest

from phimage.http.conditions import evaluate, http_date, range_applies

TAG = '"c8645ed7"'
MODIFIED = 1_795_000_000
DATE = http_date(MODIFIED)
EARLIER, LATER = http_date(MODIFIED - 1), http_date(MODIFIED + 1)


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, "proceed"),
        ({"if-none-match": TAG}, "not modified"),
        ({"if-none-match": f"W/{TAG}"}, "not modified"),
        ({"if-none-match": f'"a", W/"b" ,{TAG}'}, "not modified"),
        ({"if-none-match": "*"}, "not modified"),
        ({"if-none-match": '"other"'}, "proceed"),
        ({"if-none-match": "c8645ed7"}, "proceed"),
        ({"if-none-match": '"other"', "if-modified-since": DATE}, "proceed"),
        ({"if-modified-since": DATE}, "not modified"),
        ({"if-modified-since": LATER}, "not modified"),
        ({"if-modified-since": EARLIER}, "proceed"),
        ({"if-modified-since": "yesterday"}, "proceed"),
        ({"if-match": TAG}, "proceed"),
        ({"if-match": f'"a",{TAG}'}, "proceed"),
        ({"if-match": "*"}, "proceed"),
        ({"if-match": f"W/{TAG}"}, "failed"),
        ({"if-match": '"other"'}, "failed"),
        ({"if-match": ""}, "failed"),
        ({"if-match": TAG, "if-unmodified-since": EARLIER}, "proceed"),
        ({"if-unmodified-since": EARLIER}, "failed"),
        ({"if-unmodified-since": DATE}, "proceed"),
        ({"if-match": TAG, "if-none-match": TAG}, "not modified"),
    ],
)
def test_conditions_come_in_the_order_of_the_standard(headers: dict[str, str], outcome: str) -> None:
    assert evaluate(headers, TAG, MODIFIED) == outcome


def test_an_unknown_time_of_modification_always_counts_as_new() -> None:
    assert evaluate({"if-modified-since": LATER}, TAG, 0) == "proceed"
    assert not range_applies({"if-range": http_date(0)}, TAG, 0)


@pytest.mark.parametrize(
    ("header", "counts"),
    [
        (TAG, True),
        (f" {TAG} ", True),
        (f"W/{TAG}", False),
        ('"other"', False),
        (DATE, True),
        (LATER, False),
        (EARLIER, False),
        ("", False),
    ],
)
def test_a_range_counts_only_for_exactly_what_the_client_has(header: str, counts: bool) -> None:
    assert range_applies({"if-range": header}, TAG, MODIFIED) is counts


def test_without_if_range_every_range_counts() -> None:
    assert range_applies({}, TAG, MODIFIED)
