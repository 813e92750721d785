"""The goals, and whether the figures reach them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from bench.figures import Figures, Spread, spread

Parts = Mapping[str, Figures]


class Goal(Struct, frozen=True):
    """A goal. `reached` returns the figure, from its part; `moonshot` is what would be better still.

    `profile` is what a profile shows, for a goal that was missed when it was last measured.
    """

    what: str
    part: str
    wanted: float
    reached: Callable[[Figures], Spread]
    moonshot: float | None = None
    at_least: bool = False
    profile: str = ""


def ratio(name: str, other: str) -> Callable[[Figures], Spread]:
    """One series by another."""
    return lambda figures: figures.ratio(name, other)


def value(name: str) -> Callable[[Figures], Spread]:
    """A series."""
    return lambda figures: figures.of(name)


def of_nginx(mix: str) -> Callable[[Figures], Spread]:
    """The rate of a list of the largest catalogue on SQLite, by that of nginx."""

    def reached(figures: Figures) -> Spread:
        *_, largest = (name for name in figures.series if name.endswith(f"SQLite: {mix}, phimage"))
        return figures.ratio(largest, largest.replace("phimage", "nginx"))

    return reached


CHANGED = "publish raw, a twentieth changed"

COLD = (
    "Samples of 8,000 such requests in one process, without the socket and beside other work: the two statements of SQLite take"
    " 24 %, decoding their rows 13 %, judging, picking and encoding images 12 %, caches 11 %, and the rest of admitting a"
    " request 13 %. A larger page cache of SQLite together with its file mapped into memory saved about 6 of 232 µs."
)
RAW = (
    "Sending takes 1.9 s, in which zstd compresses for 1.2 s of processor time and both sides hash and unpack for 0.9 s, on two"
    " cores; then the publisher hashes the whole disk in 2.4 s, which is the floor alone. The last second is the promise that"
    " every server lists the image once the job is Done. Only hashing before the order of all chunks is known would meet the"
    " goal."
)
QCOW2 = (
    "Out of reach while the SHA-256 of the whole disk is a part of an image: it alone takes longer than Glance's upload. The"
    " rest is sending (1 s), hashing the file, converting it, and the second until every server lists the image."
)
ZST = (
    "Out of reach while the SHA-256 of the whole disk is a part of an image: it alone takes four times as long as `zstd -d`."
    " While zeros are hashed, the threads that compress wait, since memory is bounded."
)
FIRST = "Each frame is read and hashed before it is sent, in 0.2 s of processor time."

GOALS = (
    Goal("hot list ÷ nginx, same bytes", "list", 0.4, of_nginx("hot"), 0.9, True),
    Goal("cold list ÷ nginx, same bytes", "list", 0.08, of_nginx("cold"), 0.2, True, COLD),
    Goal(
        "publish raw ÷ openssl sha256 of it",
        "publish",
        1.7,
        ratio("publish raw", "openssl sha256 of the raw disk"),
        1.0,
        profile=RAW,
    ),
    Goal(
        "publish qcow2 ÷ Glance's upload of it",
        "publish",
        1.3,
        ratio("publish qcow2", "Glance: upload qcow2"),
        0.8,
        profile=QCOW2,
    ),
    Goal("publish raw.zst ÷ zstd -d of it", "publish", 3, ratio("publish raw.zst", "zstd -d of the raw.zst"), 1.5, profile=ZST),
    Goal(
        "bytes sent for a disk with a twentieth changed ÷ at first",
        "publish",
        0.08,
        ratio(f"{CHANGED}: MB sent", "publish raw: MB sent"),
    ),
    Goal("download raw ÷ nginx", "download", 1.3, ratio("download raw", "nginx raw"), 1.0),
    Goal("download raw, 8 clients ÷ nginx", "download", 1.4, ratio("download raw, 8 clients", "nginx raw, 8 clients"), 1.0),
    Goal("download .zst, first ÷ nginx", "download", 2, ratio("download raw.zst, first", "nginx raw.zst"), 1.0, profile=FIRST),
    Goal("download .zst, again ÷ nginx", "download", 1.3, ratio("download raw.zst", "nginx raw.zst"), 1.0),
    Goal("download qcow2 ÷ nginx", "download", 3, ratio("download qcow2", "nginx qcow2"), 1.5),
    Goal("processor s to the first answer of `serve`", "start", 0.6, value("serve, first answer on a new folder"), 0.4),
    Goal("processor s of `image ls`", "start", 0.15, value("image ls"), 0.1),
    Goal("MB of the server above idle, 8 downloads", "download", 100, lambda figures: _most(figures, "MB of the server above")),
    Goal(
        "MB of the publisher at most", "publish", 150, lambda figures: _most(figures, "publish", "MB of the publisher at most")
    ),
)


def table(parts: Parts) -> list[str]:
    """The lines of a table of all goals."""
    lines = ["| what | goal | reached | met | moonshot |", "|---|---:|---:|---|---:|"]
    return lines + [_row(goal, _reached(goal, parts)) for goal in GOALS]


def missed(parts: Parts) -> list[str]:
    """The lines about the goals that were missed: by how much, and what the profile shows."""
    lines = []
    for goal in GOALS:
        reached = _reached(goal, parts)
        if reached is not None and not _is_met(goal, reached):
            factor = goal.wanted / reached.median if goal.at_least else reached.median / goal.wanted
            lines.append(f"- *{goal.what}*: missed by a factor of {factor:.2f}. {goal.profile}".rstrip())
    return lines


def _reached(goal: Goal, parts: Parts) -> Spread | None:
    figures = parts.get(goal.part)
    try:
        return goal.reached(figures) if figures else None
    except (KeyError, ValueError):  # Glance could not be installed, or the catalogue is another one
        return None


def _is_met(goal: Goal, reached: Spread) -> bool:
    return reached.median >= goal.wanted if goal.at_least else reached.median <= goal.wanted


def _row(goal: Goal, reached: Spread | None) -> str:
    wanted = f"{'≥' if goal.at_least else '≤'} {goal.wanted:g}"
    moonshot = "" if goal.moonshot is None else f"{goal.moonshot:g}"
    if reached is None:
        return f"| {goal.what} | {wanted} | not measured | | {moonshot} |"
    digits = 0 if goal.wanted >= 100 else 3 if goal.wanted < 0.2 else 2
    met = "yes" if _is_met(goal, reached) else "**missed**"
    return f"| {goal.what} | {wanted} | {reached.text(digits)} | {met} | {moonshot} |"


def _most(figures: Figures, *parts: str) -> Spread:
    """The series of those whose name has these parts that has the largest median."""
    found = [values for name, values in figures.series.items() if all(part in name for part in parts)]
    return max((spread(values) for values in found), key=lambda each: each.median)
