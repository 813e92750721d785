"""Metric families, as Prometheus calls them, and how those of several processes are merged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

TEXT = "text/plain; version=0.0.4; charset=utf-8"
"""The Content-Type of the text format."""

Kind = Literal["counter", "gauge", "histogram"]


class Sample(Struct, frozen=True):
    """One value. For a histogram, `value` is the sum of the observations and `buckets` has the count of each bucket."""

    labels: tuple[str, ...]
    value: float
    buckets: tuple[int, ...] = ()


class Family(Struct, frozen=True):
    """Samples of one name, distinguished by labels. `bounds` are those of a histogram, without the infinite last one."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    bounds: tuple[float, ...] = ()


def counter(name: str, help: str, value: float) -> Family:
    """A counter without labels."""
    return Family(name, "counter", help, (), (Sample((), value),))


def gauge(name: str, help: str, value: float) -> Family:
    """A gauge without labels."""
    return Family(name, "gauge", help, (), (Sample((), value),))


def merge(processes: Iterable[Iterable[Family]]) -> list[Family]:
    """The families of several processes merged: the sums of counters and histograms, the maximum of gauges."""
    families: dict[str, Family] = {}
    samples: dict[str, dict[tuple[str, ...], Sample]] = {}
    for family in (family for process in processes for family in process):
        families.setdefault(family.name, family)
        known = samples.setdefault(family.name, {})
        for sample in family.samples:
            before = known.get(sample.labels)
            known[sample.labels] = sample if before is None else _both(family.kind, before, sample)
    return [
        Family(family.name, family.kind, family.help, family.labels, tuple(samples[name].values()), family.bounds)
        for name, family in families.items()
    ]


def _both(kind: Kind, one: Sample, other: Sample) -> Sample:
    if kind == "gauge":
        return max(one, other, key=lambda sample: sample.value)
    buckets = tuple(map(sum, zip(one.buckets, other.buckets, strict=True)))
    return Sample(one.labels, one.value + other.value, buckets)
