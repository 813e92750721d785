"""Measures of several processes become one installation's."""

from __future__ import annotations

from phimage.metrics.family import Family, Sample, counter, gauge, merge
from phimage.metrics.prometheus import text


def requests(**counts: float) -> Family:
    return Family(
        "requests", "counter", "Requests", ("action",), tuple(Sample((name,), count) for name, count in counts.items())
    )


def test_counters_add_up_by_label() -> None:
    assert merge([[requests(a=1, b=2)], [requests(b=3, c=4)]]) == [requests(a=1, b=5, c=4)]


def test_of_gauges_the_largest_counts() -> None:
    assert merge([[gauge("age", "Age", 3)], [gauge("age", "Age", 7)], [gauge("age", "Age", 5)]]) == [gauge("age", "Age", 7)]


def test_histograms_add_up_bucket_by_bucket() -> None:
    one = Family("seconds", "histogram", "Seconds", (), (Sample((), 1.5, (1, 2, 0)),), (0.1, 1.0))
    other = Family("seconds", "histogram", "Seconds", (), (Sample((), 2.0, (0, 1, 3)),), (0.1, 1.0))
    assert merge([[one], [other]])[0].samples == (Sample((), 3.5, (1, 3, 3)),)


def test_a_family_that_only_one_process_has_is_kept() -> None:
    assert merge([[counter("one", "One", 1)], [counter("two", "Two", 2)]]) == [
        counter("one", "One", 1),
        counter("two", "Two", 2),
    ]


def test_the_text_is_what_prometheus_reads() -> None:
    histogram = Family("seconds", "histogram", "Seconds", ("action",), (Sample(("A",), 1.5, (1, 2, 0)),), (0.1, 1.0))
    assert text([requests(List=3), gauge("age", 'How "old"', 0.5), histogram]).decode().splitlines() == [
        "# HELP requests_total Requests",
        "# TYPE requests_total counter",
        'requests_total{action="List"} 3.0',
        '# HELP age How "old"',
        "# TYPE age gauge",
        "age 0.5",
        "# HELP seconds Seconds",
        "# TYPE seconds histogram",
        'seconds_bucket{action="A",le="0.1"} 1.0',
        'seconds_bucket{action="A",le="1.0"} 3.0',
        'seconds_bucket{action="A",le="+Inf"} 3.0',
        'seconds_count{action="A"} 3.0',
        'seconds_sum{action="A"} 1.5',
    ]
