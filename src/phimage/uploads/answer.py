"""What is answered instead of a part that is kept."""

from __future__ import annotations

from phimage.chunks.errors import StoreFailure
from phimage.refusal import Answer, again_later, refusal


class Refused(Exception):
    """Not an error of ours: the request gets this answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.status)


def of_store_failure(failure: StoreFailure) -> Answer:
    """The answer when the store did not take or give something. What is wrong inside is for the log."""
    if failure.reason == "no space":
        return refusal(507, "No space", "the store is full; ask its operator, then send the part again")
    if failure.passing:
        return again_later("Store unavailable", "the store did not answer; send the part again")
    return refusal(500, "Store failed", f"the store failed: {failure.reason}; ask its operator")
