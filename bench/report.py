"""The results of the measurements as a page."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence

from msgspec import Struct

from bench import wrk
from bench.measure import Catalogue, Effort, Ratio
from bench.peers import Peer
from phimage import __version__


class Goal(Struct, frozen=True):
    """One goal, the result, and whether it reaches the goal."""

    what: str
    wanted: str
    reached: str
    met: bool


def goals(catalogues: Sequence[Catalogue]) -> list[Goal]:
    """The goals beside the results, for the largest catalogue of each database."""
    found = []
    smallest = catalogues[0]
    for database, cold in (("SQLite", 0.10), ("PostgreSQL", 0.05)):
        own = [one for one in catalogues if one.database == database]
        if not own:
            continue
        limit = own[-1]
        at = f"{limit.images:,} images, {database}"
        found.append(_least(f"hot mix, {at}", 0.5, limit.hot.median))
        if limit.cold is not None:
            found.append(_least(f"cold mix, {at}", cold, limit.cold.median))
        if limit is not smallest:
            what = f"p99 at half load, {at}, to that of {smallest.images:,} images"
            found.append(_limit(what, 1.2, limit.half.to_smallest))
        if limit.pages is not None:
            found.append(_limit(f"last page of 10,000 images to the first, {at}", 2.0, limit.pages.last / limit.pages.first))
        found.append(_limit(f"MB of memory of the worker, {at}", 200, limit.full_megabytes))
        found.append(_limit(f"seconds from start to first answer, {at}", 1.5, limit.start_seconds))
    return found


def page(catalogues: Sequence[Catalogue], peers: Sequence[Peer], effort: Effort, date: str, plot: str | None) -> str:
    """The whole page."""
    parts = [_head(effort, date), _goals(goals(catalogues)), _sizes(catalogues, plot), _runs(catalogues)]
    return "\n".join([*parts, _peers(peers)] if peers else parts)


def _head(effort: Effort, date: str) -> str:
    return f"""# Measurements

Written by `make bench` on {date}, phimage {__version__}, Python {platform.python_version()}: a shared virtual machine with
{os.cpu_count()} cores; load generator, server and database are on the same machine. Absolute figures drift from run to run;
the ratios, taken in turn within one run, are what to read.

One worker, `wrk` with {wrk.CONNECTIONS} connections, the median of {effort.rounds} runs of {effort.seconds} s; signed form
POSTs of `DescribePHostImage` for pages of 20 images. **The floor** is the same HTTP server with a bare handler that returns the
same bytes, checks nothing and looks nothing up (`bench/bare.py`). The catalogue is seeded: 300 base images, ten custom images a
project, two projects and one key an account, one project of 10,000 images.

- *Hot mix*: 1,000 different queries over 200 keys, again and again.
- *Cold mix*: each query, its project and, in the first half of them, its account and key are new to the server.
- *Half load*: the hot mix from {wrk.CONNECTIONS} clients that rest between requests, so that half of the hot mix's rate comes.
  *To the smallest*: p99 as a multiple of what the smallest catalogue has under the same load, the two loaded in turn.

PostgreSQL keeps 256 MB in memory, has its statistics (`VACUUM ANALYZE`) and syncs nothing: only reads are measured.
"""


def _goals(found: Sequence[Goal]) -> str:
    rows = [f"| {goal.what} | {goal.wanted} | {goal.reached} | {'yes' if goal.met else '**no**'} |" for goal in found]
    return "\n".join(["## Goals", "", "| what | goal | reached | met |", "|---|---:|---:|---|", *rows, ""])


def _sizes(catalogues: Sequence[Catalogue], plot: str | None) -> str:
    lines = ["## By size of the catalogue", ""]
    if plot:
        lines += [f"![Requests per second and p99 against the number of images]({plot})", ""]
    lines += [
        "| images | database | hot req/s | of the floor | half load req/s | p50 ms | p99 ms | to the smallest | start s "
        "| MB at start, end |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.images:,} | {one.database} | {_rate(one.hot.ours):,.0f} | {one.hot.median:.2f} "
        f"| {one.half.requests_per_second:,.0f} | {one.half.p50:.2f} | {one.half.p99:.2f} | {one.half.to_smallest:.2f} "
        f"| {one.start_seconds:.2f} | {one.idle_megabytes:.0f}, {one.full_megabytes:.0f} |"
        for one in catalogues
    ]
    return "\n".join([*lines, ""])


def _runs(catalogues: Sequence[Catalogue]) -> str:
    lines = [
        "## Floor and phimage in turn",
        "",
        "| mix | images | database | floor req/s | phimage req/s | ratio (lowest to highest) | p99 ms | errors |",
        "|---|---:|---|---:|---:|---|---:|---:|",
    ]
    for one in catalogues:
        lines += [_run("hot", one, one.hot)]
        lines += [_run("cold", one, one.cold)] if one.cold is not None else []
    pages = [
        f"The large project, {one.images:,} images on {one.database}: a first page takes {one.pages.first:.2f} ms, a last "
        f"one {one.pages.last:.2f} ms, each when it is asked for the first time."
        for one in catalogues
        if one.pages is not None
    ]
    return "\n".join([*lines, "", *pages, ""])


def _run(mix: str, one: Catalogue, found: Ratio) -> str:
    low, high = found.spread
    p99 = statistics.median(load.p99 for load in found.ours)
    return (
        f"| {mix} | {one.images:,} | {one.database} | {_rate(found.floor):,.0f} | {_rate(found.ours):,.0f} "
        f"| {found.median:.3f} ({low:.3f} to {high:.3f}) | {p99:.2f} | {found.errors} |"
    )


def _peers(peers: Sequence[Peer]) -> str:
    lines = ["## Peers", "", "Lists of 20 images from other programs, beside the floor of the same run.", ""]
    lines += ["| program | requests/s | of the floor | note |", "|---|---:|---:|---|"]
    lines += [
        f"| {peer.name} | {peer.requests_per_second:,.0f} | {peer.of_floor:.4f} | {peer.note} |"
        if peer.requests_per_second
        else f"| {peer.name} | – | – | {peer.note} |"
        for peer in peers
    ]
    return "\n".join([*lines, ""])


def _rate(loads: Sequence[wrk.Load]) -> float:
    return statistics.median(load.requests_per_second for load in loads)


def _least(what: str, wanted: float, reached: float) -> Goal:
    return Goal(what, f"at least {wanted:g}", f"{reached:.3g}", reached >= wanted)


def _limit(what: str, wanted: float, reached: float) -> Goal:
    return Goal(what, f"at most {wanted:g}", f"{reached:.3g}", reached <= wanted)
