"""The path of a request: its world, and the faults that its URL asks for. Every client keeps its path and signs it in no way
that this changes.

    /w/NAME/fault/RULE[,RULE]/at/2027-01-01T00:00:00Z/      the prefix ends before `at`: the rest is the application's
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from phimage.ci.fault import FaultRule, read_rule
from phimage.ci.values import BadControl

DEFAULT = "default"
"""The world of paths that name none."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class WorldPath(Struct, frozen=True):
    """A path in its parts. `prefix` and `rest` together are the path."""

    world: str
    faults: tuple[FaultRule, ...]
    prefix: str
    rest: str


# docs/decisions.md#a-world-is-named-by-the-path
@lru_cache(maxsize=1024)
def read_world_path(path: str) -> WorldPath:
    """The parts of a path. Raises BadControl for a name of a world and for a rule that cannot be used."""
    world, faults, rest = DEFAULT, [], path
    if path == "/w" or path.startswith("/w/"):
        world, _, below = path[3:].partition("/")
        check_world_name(world)
        rest = f"/{below}"
    while rest.startswith("/fault/"):
        rules, _, below = rest[len("/fault/") :].partition("/")
        faults += [read_rule(rule) for rule in rules.split(",")]
        rest = f"/{below}"
    return WorldPath(world, tuple(faults), path[: len(path) - len(rest)] if path.endswith(rest) else path, rest)


def check_world_name(name: str) -> str:
    """The name. Raises BadControl."""
    if not NAME.fullmatch(name):
        raise BadControl(f"{name!r} is no name of a world", "expected 1 to 128 letters, digits and . _ - after /w/")
    return name
