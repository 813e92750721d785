"""The figures as two pages: RESULTS.md has the goals, the list and the start; RESULTS-images.md the bytes."""

from __future__ import annotations

import os
import platform
import textwrap
from collections.abc import Sequence
from itertools import chain

from bench import goals, wrk
from bench.disk import DATA, MIB, SIZE
from bench.figures import Figures, Spread
from bench.goals import Parts
from phimage import __version__


def results(parts: Parts, date: str) -> str:
    """RESULTS.md."""
    lines = [
        "# Measurements",
        "",
        *paragraph(
            f"Written by `make bench ARGS=--full` on {date}: phimage {__version__}, Python {platform.python_version()}, on"
            f" {machine()}. Load generator, clients, server, tools and database share the machine, and nothing else ran, unless"
            " a part says so. Every figure stands beside a floor that was measured in turn with it: absolute figures drift,"
            " the ratios are what to read."
            " A figure is the median of the rounds, with the lowest and the highest; a ratio is that"
            " of figures of the same round."
            " Publishing and downloading are in [RESULTS-images.md](RESULTS-images.md); what was tried and refused, in"
            " [decisions](../docs/decisions.md)."
        ),
        "",
        "## Goals",
        "",
        *goals.table(parts),
        "",
        *chain.from_iterable(paragraph(line, "  ") for line in goals.missed(parts)),
        "",
    ]
    if "list" in parts:
        lines += _list(parts["list"])
    if "start" in parts:
        lines += [
            "## The start",
            "",
            f"{parts['start'].about}, {_rounds(parts['start'], 'image ls')} rounds.",
            "",
            *_plain(parts["start"], tuple(parts["start"].series), "s"),
        ]
    return "\n".join(lines)


def images(parts: Parts, date: str) -> str:
    """RESULTS-images.md."""
    lines = [
        "# Publishing and downloading, measured",
        "",
        *paragraph(
            f"Written by `make bench ARGS=--full` on {date}, on {machine()}. The goals are in"
            " [RESULTS.md](RESULTS.md). A disk of"
            f" {SIZE >> 30} GiB with {DATA // MIB} MiB of data, the same bytes everywhere"
            " (`bench/disk.py`); its files are in the"
            " page cache. The server, the publisher, the client and the tools beside them share the cores."
        ),
        "",
    ]
    if "publish" in parts:
        lines += _publish(parts["publish"])
    if "download" in parts:
        lines += _download(parts["download"])
    if "gc" in parts:
        lines += [
            "## Collecting garbage",
            "",
            f"{parts['gc'].about}, {_rounds(parts['gc'], 'a chunk')} rounds, in one process.",
            "",
        ]
        lines += _plain(parts["gc"], tuple(parts["gc"].series), "µs")
    return "\n".join(lines)


def machine() -> str:
    """This machine, in words."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"a virtual machine with {os.cpu_count()} cores and {pages / 2**30:.0f} GiB of memory, whose disk is ext4"


def paragraph(text: str, indent: str = "") -> list[str]:
    """The lines of a paragraph; `indent` begins all but the first."""
    return textwrap.wrap(text, 126, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _list(figures: Figures) -> list[str]:
    places = list(dict.fromkeys(name.partition(":")[0] for name in figures.series))
    lines = [
        "## The list",
        "",
        *paragraph(
            f"{figures.about}; {_rounds(figures, 'hot, phimage')} rounds; one worker, all limits on; signed form POSTs"
            " of `DescribePHostImage`"
            " for pages of 20 images. nginx"
            " sends the same bytes from files (one worker, sendfile, no log); the bare server is phimage's HTTP server with an"
            " application that returns the same bytes, checks nothing and keeps nothing ready. The"
            " catalogue is seeded: 300 base"
            " images, ten custom images a project, two projects and one key an account; from 100,000 images on, one project of"
            " 10,000. PostgreSQL keeps 256 MB in memory, has its statistics and syncs nothing: only reads are measured."
        ),
        "",
        "- *Hot*: 1,000 different requests over 200 keys, again and again.",
        "- *Cold*: each request, its project and, in the first half of them, its account and key are new to the server.",
        f"- *Half load*: hot requests of {wrk.CONNECTIONS} clients that rest between them, so that half of the hot rate comes.",
        "",
        "| list | requests/s | nginx | bare server | ÷ nginx | ÷ bare server | µs of the worker | p99 ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for mix in ("hot", "cold"):
        lines += [_list_row(figures, place, mix) for place in places if f"{place}: {mix}, phimage" in figures]
    lines += [
        "",
        "| catalogue | half load p50, p99 ms | s to the first answer | MB at the start, end | first, last page of 10,000: ms |",
        "|---|---:|---:|---:|---:|",
    ]
    for place in places:
        pages = "–"
        if f"{place}: ms of a first page of 10,000 images" in figures:
            pages = ", ".join(
                f"{_of(figures, place, f'ms of a {which} page of 10,000 images').median:.2f}" for which in ("first", "last")
            )
        half = ", ".join(f"{_of(figures, place, f'half load, {which} ms').median:.2f}" for which in ("p50", "p99"))
        memory = ", ".join(f"{_of(figures, place, f'MB at the {when}').median:.0f}" for when in ("start", "end"))
        lines.append(
            f"| {place} | {half} | {_of(figures, place, 'seconds to the first answer').median:.2f} | {memory} | {pages} |"
        )
    return [*lines, ""]


def _list_row(figures: Figures, place: str, mix: str) -> str:
    name = f"{place}: {mix}"
    ours, nginx, bare = (figures.of(f"{name}, {server}") for server in ("phimage", "nginx", "bare server"))
    ratios = (figures.ratio(f"{name}, phimage", f"{name}, {floor}").text(3) for floor in ("nginx", "bare server"))
    rates = " | ".join(f"{one.median:,.0f}" for one in (ours, nginx, bare))
    rest = f"{figures.of(f'{name}, us of the worker').median:.0f} | {figures.of(f'{name}, p99 ms').median:.1f}"
    return f"| {mix}, {place} | {rates} | {' | '.join(ratios)} | {rest} |"


def _of(figures: Figures, place: str, name: str) -> Spread:
    return figures.of(f"{place}: {name}")


def _publish(figures: Figures) -> list[str]:
    published = [name for name in figures.series if name.startswith("publish") and ":" not in name]
    others = [name for name in figures.series if not name.startswith("publish")]
    floors = {"publish raw": "openssl sha256 of the raw disk", "publish raw.zst": "zstd -d of the raw.zst",
              "publish qcow2": "Glance: upload qcow2"}  # fmt: skip
    lines = [
        "## Publishing",
        "",
        *paragraph(
            f"{figures.about}; {_rounds(figures, 'publish raw')} rounds. From the command to Available, each but the"
            " changed disk into an empty"
            " store. Processor seconds are"
            " those of command, server and publisher. Memory is the publisher's own at most, without"
            " qemu-img, which it starts for"
            " qcow2. MB sent are bodies of requests."
        ),
        "",
        "| what | seconds | ratio | processor seconds | MB of the publisher | MB sent |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for name in published:
        floor = floors.get(name, "")
        ratio = f"{figures.ratio(name, floor).text()} × {floor}" if floor and floor in figures else ""
        cells = (f"{figures.of(f'{name}: {what}').median:.{digits}f}" for what, digits in
                 (("processor seconds", 1), ("MB of the publisher at most", 0), ("MB sent", 0)))  # fmt: skip
        lines.append(f"| {name} | {figures.of(name).text()} | {ratio} | {' | '.join(cells)} |")
    return [*lines, "", "Beside it:", "", *_plain(figures, others, "seconds")]


def _download(figures: Figures) -> list[str]:
    lines = [
        "## Downloading",
        "",
        *paragraph(
            f"{figures.about}; {_rounds(figures, 'download raw')} rounds. With curl, each in turn with nginx sending the"
            " same bytes from a file (one worker, sendfile)."
            " *first*: the server has sent nothing before."
        ),
        "",
        "| what | seconds | server's processor | nginx | ÷ nginx |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in figures.series:
        if name.startswith("download") and ":" not in name:
            floor = "nginx " + name.removeprefix("download ").removesuffix(" from S3").removesuffix(", first")
            used = figures.of(f"{name}: server's processor").median
            ratio = figures.ratio(name, floor).text()
            lines.append(f"| {name} | {figures.of(name).text()} | {used:.2f} | {figures.of(floor).text()} | {ratio} |")
    memory = [name for name in figures.series if name.startswith("MB")]
    return [*lines, "", *_plain(figures, memory, "MB")]


def _rounds(figures: Figures, name: str) -> int:
    """The rounds of the series whose name ends so."""
    return max(len(values) for series, values in figures.series.items() if series.endswith(name))


def _plain(figures: Figures, names: Sequence[str], unit: str) -> list[str]:
    return [f"| what | {unit} |", "|---|---:|", *(f"| {name} | {figures.of(name).text()} |" for name in names), ""]
