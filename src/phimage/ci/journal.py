"""The journal of a world: what was called, what was answered, and which faults struck."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from phimage.errors import MissingSignature, UnknownUser, WrongSignature
from phimage.gateway.params import Value

MAX_CALLS = 10_000
"""The calls that a journal keeps, the newest ones."""
UNCHECKED = "unchecked"
REFUSED = 400
"""The lowest status of a refusal."""
_VERDICTS = {MissingSignature.ret_code: "missing", UnknownUser.ret_code: "unknown key", WrongSignature.ret_code: "wrong"}


class JournalCall(Struct, frozen=True):
    """A request and its answer.

    `status` is None where no answer was sent, `ret_code` where it has none. `params` are masked. `signature` is good, missing,
    wrong, unknown key, or unchecked where a fault or an error came first. `time` is the world's.
    """

    number: int
    time: float
    method: str
    path: str
    action: str
    params: dict[str, Value]
    faults: tuple[str, ...]
    signature: str
    status: int | None
    ret_code: int | None
    request_id: str
    revision: int | None


class Journal:
    """The calls of a world, oldest first. Used on the event loop alone."""

    def __init__(self) -> None:
        self._calls: deque[JournalCall] = deque(maxlen=MAX_CALLS)
        self._number = 0

    def next_number(self) -> int:
        """The number of a call that begins."""
        self._number += 1
        return self._number

    def add(self, call: JournalCall) -> None:
        """Add a call that has ended."""
        self._calls.append(call)

    def calls(self, action: str = "") -> list[JournalCall]:
        """The calls of an Action, or all, in the order in which they began."""
        return sorted((call for call in self._calls if action in ("", call.action)), key=lambda call: call.number)


def verdict(ret_code: int | None, status: int | None) -> str:
    """What an answer says of the signature, or of the ticket of a download or an upload."""
    if ret_code is None:
        return "good" if status is not None and status < REFUSED else UNCHECKED
    return _VERDICTS.get(ret_code, "good")


def encode_calls(calls: Iterable[JournalCall]) -> list[dict[str, object]]:
    """Calls as JSON has them."""
    plain: list[dict[str, object]] = msgspec.to_builtins(list(calls))
    return plain
