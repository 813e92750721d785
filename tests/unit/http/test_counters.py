"""What was answered is counted."""

from __future__ import annotations

from phimage.http.counters import BOUNDS, RequestCounters


def test_requests_are_counted_by_action_and_ret_code() -> None:
    counters = RequestCounters()
    counters.count("DescribePHostImage", 0, 0.001, 10, 100)
    counters.count("DescribePHostImage", 0, 0.001, 10, 100)
    counters.count("DescribePHostImage", 150, 0.001, 10, 100)
    counters.count("", 161, 0.001, 10, 100)
    assert counters.requests == {("DescribePHostImage", 0): 2, ("DescribePHostImage", 150): 1, ("none", 161): 1}
    assert (counters.bytes_in, counters.bytes_out) == (40, 400)


def test_a_latency_falls_into_the_first_bucket_that_is_not_below_it() -> None:
    counters = RequestCounters()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1], BOUNDS[-1] + 1):
        counters.count("A", 0, seconds, 0, 0)
    buckets = counters.latencies["A"].buckets
    assert (buckets[0], buckets[1], buckets[-2], buckets[-1]) == (2, 1, 1, 1)
    assert sum(buckets) == 5
    assert counters.latencies["A"].seconds == sum((0.0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1], BOUNDS[-1] + 1))
