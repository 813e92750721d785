"""Transitions: when an image that is being made leaves that state, and for which other one.

    immediate | stuck | {time: 5m} | {looks: 3} | {fail: "no space left", after: 2m}

An image that is being made has a job, which runs until the transition is due. Then the job is worked on like any other, or
fails with the reason: states, revisions and the log are those of a real publisher.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from phimage.ci.values import BadControl, read_duration

_EXPECTED = 'expected immediate, stuck, {"time": "5m"}, {"looks": 3} or {"fail": "reason", "after": "2m"}'


class Transition(Struct, frozen=True):
    """Due after seconds of the world's clock, and after so many answers that showed the image; never if `stuck`.

    `failure` is the reason of the failure that it ends in; empty for success.
    """

    seconds: float = 0.0
    looks: int = 0
    stuck: bool = False
    failure: str = ""

    def is_due(self, seconds: float, looks: int) -> bool:
        """Whether it is due after so many seconds and looks."""
        return not self.stuck and seconds >= self.seconds and looks >= self.looks

    def share(self, seconds: float, looks: int) -> float:
        """How much of the way is done, from 0 to 1."""
        if self.stuck:
            return 0.0
        shares = [done / whole for done, whole in ((seconds, self.seconds), (looks, self.looks)) if whole]
        return min(1.0, *shares, 1.0)


IMMEDIATE = Transition()


def read_transition(value: object, field: str = "transition") -> Transition:
    """The transition of a value as JSON or YAML has it. Raises BadControl."""
    if value == "immediate":
        return IMMEDIATE
    if value == "stuck":
        return Transition(stuck=True)
    if not isinstance(value, Mapping) or not value or not set(value) <= {"time", "after", "looks", "fail"}:
        raise BadControl(f"{field}: {value!r} is no transition", _EXPECTED)
    if ("time" in value and set(value) & {"after", "fail"}) or ("after" in value and "fail" not in value):
        raise BadControl(f"{field}: {value!r} is no transition", _EXPECTED)
    looks, failure = value.get("looks", 0), value.get("fail", "")
    looks = int(looks) if isinstance(looks, str) and looks.isdecimal() else looks
    if not isinstance(looks, int) or isinstance(looks, bool) or looks < 0:
        raise BadControl(f"{field}.looks: {looks!r} is no number of looks", _EXPECTED)
    if not isinstance(failure, str) or ("fail" in value and not failure):
        raise BadControl(f"{field}.fail: {failure!r} is no reason", _EXPECTED)
    seconds = read_duration(value.get("time", value.get("after", 0)), field)
    return Transition(seconds, looks, failure=failure)


def shown_transition(transition: Transition) -> object:
    """A transition as JSON has it."""
    if transition == IMMEDIATE:
        return "immediate"
    if transition.stuck:
        return "stuck"
    looks = {"looks": transition.looks} if transition.looks else {}
    if transition.failure:
        return {"fail": transition.failure, "after": transition.seconds, **looks}
    return {**({"time": transition.seconds} if transition.seconds else {}), **looks}
