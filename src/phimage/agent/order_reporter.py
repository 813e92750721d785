"""Reports on one order while it is being done, and the right to write that the server's answers give."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from phimage.agent.crew import Crew
from phimage.agent.errors import AgentRefused, OrderGone, printable
from phimage.agent.given_order import GivenOrder
from phimage.agent.server_link import AgentKey, ServerAway, ServerLink
from phimage.errors import PhimageError

_LEASE_PAUSE = 0.2
_LAST_REPORT_SECONDS = 1800.0
"""How long the last report is repeated: the server waits as long for a silent agent."""
_MAX_PHASE, _MAX_ERROR = 32, 1024


class OrderReporter:
    """A context manager, within which a thread reports every few seconds and at every change of phase.

    Nothing may be written once the order is lost, nor while no report was answered for the length of the lease.
    """

    def __init__(
        self,
        link: ServerLink,
        credential: AgentKey,
        order: GivenOrder,
        crew: Crew,
        report_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """`clock` counts seconds. The crew is stopped when the order is lost."""
        self.order = order
        self._link = link
        self._credential = credential
        self._crew = crew
        self._report_seconds = report_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._state: dict[str, str | int | bool] = {"Phase": "begin", "Done": 0, "Total": 0, "Sent": 0, "Reused": 0}
        self._is_due = self._ended = False
        self._answered = clock()
        self._lost: PhimageError | None = None
        self._thread = threading.Thread(target=self._report_often, name="phimage-agent-report", daemon=True)

    def show(self, phase: str, done: int, total: int, sent: int = 0, reused: int = 0) -> None:
        """Take note of the progress. Raises the reason once the order is lost."""
        with self._changed:
            self.raise_if_lost()
            phase = phase.replace(" ", "-")[:_MAX_PHASE]
            if phase != self._state["Phase"]:
                self._is_due = True
                self._changed.notify_all()
            self._state.update(Phase=phase, Done=done, Total=total, Sent=sent, Reused=reused)

    # docs/decisions.md#an-agent-without-a-lease-waits
    def permit(self) -> None:
        """Return when a write is permitted. Raises the reason once the order is lost, and CrewStopped."""
        while True:
            with self._changed:
                self.raise_if_lost()
                if self._clock() - self._answered < self.order.lease_seconds:
                    return
            self._crew.pause(_LEASE_PAUSE)

    def raise_if_lost(self) -> None:
        """Raises OrderGone or AgentRefused once the order is lost."""
        if self._lost is not None:
            raise self._lost

    def finish(self, receipt: str = "", *, rebooting: bool = False) -> None:
        """Report that the order is done. Raises OrderGone, AgentRefused and ServerAway."""
        last: dict[str, str | int | bool] = {"Finished": True}
        if receipt:
            last |= {"Receipt": receipt, "Rebooting": rebooting}
        self._report_last(last)

    def fail(self, reason: str) -> None:
        """Report why the order failed. Raises as `finish`."""
        # The server refuses control characters, and a disk may have some in its names.
        self._report_last({"Error": printable(reason[:_MAX_ERROR])})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def _report_last(self, fields: Mapping[str, str | int | bool]) -> None:
        self._end()
        self.raise_if_lost()
        self._send(fields, _LAST_REPORT_SECONDS)

    def _report_often(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_due or self._ended, self._report_seconds)
                self._is_due = False
                if self._ended:
                    return
            try:
                sent_at = self._clock()
                if not self._send({}, 0.0):
                    raise OrderGone(f"the server ended order {self.order.id}")
                with self._changed:
                    self._answered = sent_at
            except ServerAway:
                continue
            except (OrderGone, AgentRefused) as error:
                self._lose(error)
                return
            except Exception as error:  # noqa: BLE001  without reports nothing may be written, and nobody would know why
                self._lose(OrderGone(f"a report failed: {type(error).__name__}: {error}; see the log of the server"))
                return

    def _lose(self, error: PhimageError) -> None:
        with self._changed:
            self._lost = error
        self._crew.stop()

    def _send(self, fields: Mapping[str, str | int | bool], patience: float) -> bool:
        """Whether the order goes on."""
        with self._changed:
            params = {"OrderId": self.order.id, "Fence": self.order.fence, **self._state, **fields}
        return bool(self._link.call(self._credential, "AgentReport", params, patience=patience)["Continue"])
