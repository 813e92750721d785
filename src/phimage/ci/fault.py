"""Faults: which requests they strike, and what they do to them.

    RULE = WHAT[@ACTION][:first=N|:every=N|:nth=N]

A rule counts the requests that it concerns, and strikes by their number: never by chance. Without a number it strikes all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from phimage.ci.values import BadControl, read_duration
from phimage.errors import REQUEST_ERRORS

What = Literal["ret", "http", "delay", "hang", "reset", "lost", "cut", "flip", "slow"]
Turn = Literal["", "first", "every", "nth"]

UNDONE: frozenset[What] = frozenset({"ret", "http", "hang", "reset"})
"""Faults in whose place the request is not carried out."""
RET_CODES = {error.ret_code: error for error in REQUEST_ERRORS}
IMAGES, UPLOADS = "images", "uploads"
"""What `@` names beside Actions: downloads, and parts of uploads."""

_RULE = re.compile(
    r"(?P<what>[a-z]+)(?:-(?P<value>[A-Za-z0-9.]+))?(?:@(?P<action>\w{1,128}))?(?::(?P<turn>\w+)=(?P<number>\d{1,9}))?",
    re.ASCII,
)
_SIZE = re.compile(r"(\d{1,12})(B|KiB|MiB|GiB|)")
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_WHATS = "ret-153, http-502, delay-2s, hang, reset, lost, cut-1MiB, flip-4096 or slow-1MiB"


class FaultRule(Struct, frozen=True):
    """A rule. `value` is a RetCode, a status, seconds, or bytes; of `slow`, bytes a second. An empty `action` is any one."""

    text: str
    what: What
    value: float
    action: str = ""
    turn: Turn = ""
    number: int = 0

    @property
    def undoes(self) -> bool:
        """Whether the request is not carried out."""
        return self.what in UNDONE

    def concerns(self, action: str) -> bool:
        """Whether it counts a request of an Action, or of IMAGES or UPLOADS. RetCodes are answers to Actions alone."""
        if self.what == "ret" and action in ("", IMAGES, UPLOADS):
            return False
        return self.action in ("", action)

    def strikes(self, count: int) -> bool:
        """Whether it strikes the request of this number, counted from 1."""
        match self.turn:
            case "first":
                return count <= self.number
            case "every":
                return count % self.number == 0
            case "nth":
                return count == self.number
            case _:
                return True


class FaultCounts:
    """The rules of a world: those that were added, and the counts of these and of those in URLs."""

    def __init__(self) -> None:
        self.rules: list[FaultRule] = []
        self._counts: Counter[str] = Counter()

    def add(self, rule: FaultRule) -> None:
        """Add a rule for all requests of the world. Its count begins anew."""
        self.rules = [known for known in self.rules if known.text != rule.text] + [rule]
        self._counts.pop(f"world {rule.text}", None)

    def clear(self) -> None:
        """Remove the added rules, and begin all counts anew."""
        self.rules.clear()
        self._counts.clear()

    def may_answer(self, action: str, in_url: Iterable[FaultRule]) -> bool:
        """Whether a rule may answer a request with a RetCode, which needs a good signature."""
        return any(rule.what == "ret" and rule.concerns(action) for rule in (*self.rules, *in_url))

    def struck(self, action: str, prefix: str, in_url: Iterable[FaultRule], *, is_signed: bool = True) -> tuple[FaultRule, ...]:
        """Count a request, and return the rules that strike it. Those of a URL are counted for the users of its prefix.

        Rules with a RetCode neither count nor strike what has no good signature.
        """
        concerned = [(f"world {rule.text}", rule) for rule in self.rules] + [(f"{prefix} {rule.text}", rule) for rule in in_url]
        struck = []
        for name, rule in concerned:
            if rule.concerns(action) and (is_signed or rule.what != "ret"):
                self._counts[name] += 1
                if rule.strikes(self._counts[name]):
                    struck.append(rule)
        return tuple(struck)


def read_rule(text: str) -> FaultRule:
    """The rule of a text. Raises BadControl."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise BadControl(f"fault {text!r} is no rule", f"expected {_WHATS}, then @ACTION and one of :first=N, :every=N, :nth=N")
    what, value, turn = match["what"], match["value"] or "", match["turn"] or ""
    if turn not in ("", "first", "every", "nth") or (turn and not int(match["number"])):
        raise BadControl(f"fault {text!r} strikes no request", "expected first=N, every=N or nth=N, with N from 1")
    return FaultRule(text, *_what(what, value, text), match["action"] or "", turn, int(match["number"] or 0))  # type: ignore[arg-type]


def _what(what: str, value: str, text: str) -> tuple[What, float]:
    match what:
        case "hang" | "reset" | "lost" if not value:
            return what, 0
        case "ret":
            if value.isdecimal() and int(value) in RET_CODES:
                return "ret", int(value)
            raise BadControl(f"fault {text!r} names no RetCode", f"expected ret- and one of {', '.join(map(str, RET_CODES))}")
        case "http":
            if value in _STATUSES:
                return "http", int(value)
            raise BadControl(f"fault {text!r} names no status", f"expected http- and one of {', '.join(_STATUSES)}")
        case "delay":
            return "delay", read_duration(value, f"fault {text!r}")
        case "cut" | "flip" | "slow":
            size = _SIZE.fullmatch(value)
            if size is not None and (what != "slow" or int(size[1])):
                return what, int(size[1]) * _UNITS[size[2]]
            raise BadControl(
                f"fault {text!r} has no size", f"expected bytes, or a number with KiB, MiB or GiB, such as {what}-1MiB"
            )
        case _:
            raise BadControl(f"fault {text!r} is unknown", f"expected {_WHATS}")


_STATUSES = ("400", "403", "404", "408", "413", "429", "500", "502", "503", "504")
