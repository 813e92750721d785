"""Throughput and p99 against the size of the catalogue."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.measure import Catalogue


def draw(catalogues: Sequence[Catalogue], file: Path) -> None:
    """Write the PNG. Needs matplotlib, which `make bench` installs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (rates, latencies) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6), layout="constrained")
    drawn = [(database, [one for one in catalogues if one.database == database]) for database in ("SQLite", "PostgreSQL")]
    for (database, own), marker in zip(drawn, ("o-", "s--"), strict=True):
        sizes = [one.images for one in own]
        rates.plot(sizes, [statistics.median(load.requests_per_second for load in one.hot.ours) for one in own], marker,
                   label=f"phimage, {database}")  # fmt: skip
        latencies.plot(sizes, [one.half.p99 for one in own], marker, label=f"phimage, {database}")
    beside = drawn[0][1]  # one floor is enough to see
    floors = [statistics.median(load.requests_per_second for load in one.hot.floor) for one in beside]
    rates.plot([one.images for one in beside], floors, "x:", color="grey", label="bare server, same bytes")
    rates.set(ylabel="requests per second, hot mix", xscale="log")
    latencies.set(ylabel="p99 at half load, ms", xlabel="custom images in the catalogue")
    for axes in (rates, latencies):
        axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.savefig(file, dpi=110, metadata={"Software": None})
