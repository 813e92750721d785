from __future__ import annotations

import pytest

from phimage.delivery.conditions import http_date, judge, range_counts

TAG = '"c8645ed7"'
MODIFIED = 1_795_000_000
DATE = http_date(MODIFIED)
EARLIER, LATER = http_date(MODIFIED - 1), http_date(MODIFIED + 1)


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, "go on"),
        ({"if-none-match": TAG}, "not modified"),
        ({"if-none-match": f"W/{TAG}"}, "not modified"),
        ({"if-none-match": f'"a", W/"b" ,{TAG}'}, "not modified"),
        ({"if-none-match": "*"}, "not modified"),
        ({"if-none-match": '"other"'}, "go on"),
        ({"if-none-match": "c8645ed7"}, "go on"),
        ({"if-none-match": '"other"', "if-modified-since": DATE}, "go on"),
        ({"if-modified-since": DATE}, "not modified"),
        ({"if-modified-since": LATER}, "not modified"),
        ({"if-modified-since": EARLIER}, "go on"),
        ({"if-modified-since": "yesterday"}, "go on"),
        ({"if-match": TAG}, "go on"),
        ({"if-match": f'"a",{TAG}'}, "go on"),
        ({"if-match": "*"}, "go on"),
        ({"if-match": f"W/{TAG}"}, "failed"),
        ({"if-match": '"other"'}, "failed"),
        ({"if-match": ""}, "failed"),
        ({"if-match": TAG, "if-unmodified-since": EARLIER}, "go on"),
        ({"if-unmodified-since": EARLIER}, "failed"),
        ({"if-unmodified-since": DATE}, "go on"),
        ({"if-match": TAG, "if-none-match": TAG}, "not modified"),
    ],
)
def test_conditions_come_in_the_order_of_the_standard(headers: dict[str, str], outcome: str) -> None:
    assert judge(headers, TAG, MODIFIED) == outcome


def test_what_was_modified_nobody_knows_when_is_always_new() -> None:
    assert judge({"if-modified-since": LATER}, TAG, 0) == "go on"
    assert not range_counts({"if-range": http_date(0)}, TAG, 0)


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
    assert range_counts({"if-range": header}, TAG, MODIFIED) is counts


def test_without_if_range_every_range_counts() -> None:
    assert range_counts({}, TAG, MODIFIED)
