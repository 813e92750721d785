"""Families in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from phimage.metrics.family import Family, Sample


def text(families: Iterable[Family]) -> bytes:
    """The families in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_FixedCollector([_metric(family) for family in families]))
    return generate_latest(registry)


class _FixedCollector(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from self._metrics


def _metric(family: Family) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for sample in family.samples:
            histogram.add_metric(sample.labels, _buckets(family, sample), sample.value)
        return histogram
    metric = (CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily)(
        family.name, family.help, labels=family.labels
    )
    for sample in family.samples:
        metric.add_metric(sample.labels, sample.value)
    return metric


def _buckets(family: Family, sample: Sample) -> list[tuple[str, int]]:
    bounds = [*map(str, family.bounds), "+Inf"]
    return list(zip(bounds, accumulate(sample.buckets), strict=True))
