"""The goals, and whether the figures reach them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from bench.figures import Figures, Spread, spread

Parts = Mapping[str, Figures]


class Goal(Struct, frozen=True):
    """A goal. `reached` returns the figure, from its part; `moonshot` is what would be better still."""

    what: str
    part: str
    wanted: float
    reached: Callable[[Figures], Spread]
    moonshot: float | None = None
    at_least: bool = False


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

GOALS = (
    Goal("hot list ÷ nginx, same bytes", "list", 0.4, of_nginx("hot"), 0.9, True),
    Goal("cold list ÷ nginx, same bytes", "list", 0.08, of_nginx("cold"), 0.2, True),
    Goal("publish raw ÷ openssl sha256 of it", "publish", 1.7, ratio("publish raw", "openssl sha256 of the raw disk"), 1.0),
    Goal("publish qcow2 ÷ Glance's upload of it", "publish", 1.3, ratio("publish qcow2", "Glance: upload qcow2"), 0.8),
    Goal("publish raw.zst ÷ zstd -d of it", "publish", 3, ratio("publish raw.zst", "zstd -d of the raw.zst"), 1.5),
    Goal(
        "bytes sent for a disk with a twentieth changed ÷ at first",
        "publish",
        0.08,
        ratio(f"{CHANGED}: MB sent", "publish raw: MB sent"),
    ),
    Goal("download raw ÷ nginx", "download", 1.3, ratio("download raw", "nginx raw"), 1.0),
    Goal("download raw, 8 clients ÷ nginx", "download", 1.4, ratio("download raw, 8 clients", "nginx raw, 8 clients"), 1.0),
    Goal("download .zst, first ÷ nginx", "download", 2, ratio("download raw.zst, first", "nginx raw.zst"), 1.0),
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
    """The lines of a table of all goals whose part was measured."""
    lines = ["| what | goal | reached | met | moonshot |", "|---|---:|---:|---|---:|"]
    for goal in GOALS:
        figures = parts.get(goal.part)
        try:
            reached = goal.reached(figures) if figures else None
        except (KeyError, ValueError):  # Glance could not be installed, or the catalogue is another one
            reached = None
        lines.append(_row(goal, reached))
    return lines


def _row(goal: Goal, reached: Spread | None) -> str:
    wanted = f"{'≥' if goal.at_least else '≤'} {goal.wanted:g}"
    moonshot = "" if goal.moonshot is None else f"{goal.moonshot:g}"
    if reached is None:
        return f"| {goal.what} | {wanted} | not measured | | {moonshot} |"
    met = reached.median >= goal.wanted if goal.at_least else reached.median <= goal.wanted
    digits = 0 if goal.wanted >= 100 else 3 if goal.wanted < 0.2 else 2
    return f"| {goal.what} | {wanted} | {reached.text(digits)} | {'yes' if met else '**missed**'} | {moonshot} |"


def _most(figures: Figures, *parts: str) -> Spread:
    """The series of those whose name has these parts that has the largest median."""
    found = [values for name, values in figures.series.items() if all(part in name for part in parts)]
    return max((spread(values) for values in found), key=lambda each: each.median)
