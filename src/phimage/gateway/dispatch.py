"""One request, from its parts to the bytes of its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

import structlog
from msgspec import Struct

from phimage.errors import (
    LongPoll,
    MissingAction,
    NotCached,
    RequestError,
    ServiceUnavailable,
    TooLargeParam,
    UnavailableParam,
    UnknownAction,
)
from phimage.gateway import envelope
from phimage.gateway.access import authenticate, authorize, check_address
from phimage.gateway.decode import decode
from phimage.gateway.params import Params, read_params
from phimage.gateway.path import Pin, read_path
from phimage.gateway.rate import RateLimit
from phimage.gateway.registry import SMALL_BODY, Action, AnyRegistry, Call, Caller, Present, Registry
from phimage.model.ids import ProjectId, Revision

log = structlog.get_logger()

View = TypeVar("View", bound=Present)
Service = TypeVar("Service")
Seen = TypeVar("Seen", bound=Present, covariant=True)


class Views(Protocol[Seen]):
    """Where views of the catalogue come from. With `wait=False` a view raises NotCached instead of reading."""

    def now(self, *, wait: bool) -> Seen:
        """The newest revision."""
        ...

    def at(self, revision: Revision, *, wait: bool) -> Seen:
        """A past revision."""
        ...

    def revision_at(self, time: int) -> Revision:
        """The newest revision at a time, in microseconds since 1970. It reads."""
        ...


MAX_KEPT = 4096
"""Longest body and query, in bytes, of a request that is remembered as admitted."""


class Incoming(Struct, frozen=True):
    """A request as it came. `body` is whole; `address` is the caller's and `base_url` gives ours, as trusted proxies say."""

    method: str
    path: str
    query: str
    content_type: str
    body: bytes
    address: str
    request_id: str
    base_url: Callable[[], str] = str


class Answer(Struct, frozen=True):
    """What goes back at HTTP 200. `revision` is the one that the answer reflects; None when it came to none.

    `action` is empty when the request named none that there is.
    """

    body: bytes
    ret_code: int
    revision: Revision | None
    headers: dict[str, str] = {}
    action: str = ""


class Attempt(Struct):
    """How far a request has come: it may be tried again where it can wait, and again when there is news.

    `wait`: it may read the database. `patient`: it may raise LongPoll. `counted`: it was counted against the rate of its key.
    `params`: its parameters, once they were read.
    """

    wait: bool = False
    patient: bool = True
    counted: bool = False
    params: Params | None = None


class _Admitted(Struct, Generic[View, Service], frozen=True):
    """A request that passed the checks: the Action, its typed request, the caller and the project."""

    action: Action[View, Service]
    request: Struct
    caller: Caller
    project: ProjectId


class Dispatcher(Generic[View, Service]):
    """Answers requests. Never raises anything but NotCached and LongPoll."""

    def __init__(
        self,
        registry: Registry[View, Service],
        views: Views[View],
        service: Service,
        rate_limit: RateLimit | None = None,
        *,
        explain_signatures: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` dates changes; `monotonic` measures rates, so that a clock that steps neither refuses nor admits requests."""
        self.registry = registry
        self._views = views
        self._service = service
        self._rate_limit = rate_limit
        self._explain_signatures = explain_signatures
        self._clock = clock
        self._monotonic = monotonic

    def answer(self, incoming: Incoming, attempt: Attempt) -> Answer:
        """The answer to a request. Raises NotCached or LongPoll as the attempt allows."""
        name = ""
        view: View | None = None
        try:
            view = self._views.now(wait=attempt.wait)
            # A request of the very same bytes was admitted and its sender's account has not changed since: its signature is as
            # good as it was. The protocol signs no time, so clients may send a request again.
            admitted: _Admitted[View, Service] | None = view.recall(_bytes_of(incoming))
            if admitted is not None:
                name = admitted.action.name
                self._check_each_time(admitted.caller, incoming, attempt)
            else:
                if attempt.params is None:
                    attempt.params = read_params(incoming.method, incoming.content_type, incoming.query, incoming.body)
                name = _action_name(attempt.params)
                admitted = self._admit(name, attempt.params, view, incoming, attempt)
            pin = read_path(incoming.path)  # not before: who has no key is told nothing and costs no reading
            view = self._view(pin, view)
            return self._run(admitted, pin, view, incoming, attempt)
        except RequestError as error:
            revision = view.revision if view else None
            return Answer(envelope.failure(name, error), error.ret_code, revision, action=self._known(name))
        except (NotCached, LongPoll):
            raise
        except Exception:
            log.exception("request.failed", action=name, request_id=incoming.request_id)
            defect = ServiceUnavailable(detail="an error inside phimage; its log has the request id")
            return Answer(envelope.failure(name, defect), defect.ret_code, None, action=self._known(name))

    def _known(self, name: str) -> str:
        return name if self.registry.get(name) else ""

    def _view(self, pin: Pin, now: View) -> View:
        if not pin.pinned:
            return now
        now.may_wait()
        if pin.time is not None:
            if pin.time > self._clock() * 1_000_000:
                raise UnavailableParam("at", detail="the time is in the future")
            return self._views.at(self._views.revision_at(pin.time), wait=True)
        assert pin.revision is not None
        if pin.revision > now.revision:
            raise UnavailableParam("rev", detail=f"the newest revision is {now.revision}")
        return self._views.at(pin.revision, wait=True)

    def _admit(self, name: str, params: Params, view: View, incoming: Incoming, attempt: Attempt) -> _Admitted[View, Service]:
        """Every check that the catalogue is not asked for, in the order of wire-protocol B5."""
        caller = authenticate(params, view, explain=self._explain_signatures)
        self._check_each_time(caller, incoming, attempt)
        action = self.registry.get(name)
        if action is None:
            raise UnknownAction(name)
        if len(incoming.body) > action.max_body:
            raise TooLargeParam("request", detail=f"at most {action.max_body} bytes for {name}")
        project = authorize(action, params, caller)
        admitted = _Admitted(action, decode(action.request, params, self.registry.settings), caller, project)
        if len(incoming.body) + len(incoming.query) <= MAX_KEPT and not action.changes:
            view.keep(_bytes_of(incoming), admitted, caller.account.id, len(incoming.body) + len(incoming.query))
        return admitted

    def _check_each_time(self, caller: Caller, incoming: Incoming, attempt: Attempt) -> None:
        check_address(caller, incoming.address)
        if self._rate_limit is not None and not attempt.counted:
            self._rate_limit.spend(caller.key, self._monotonic())
            attempt.counted = True

    def _run(self, admitted: _Admitted[View, Service], pin: Pin, view: View, incoming: Incoming, attempt: Attempt) -> Answer:
        action = admitted.action
        if action.changes:
            if pin.pinned:
                raise UnavailableParam("rev", detail=f"{action.name} changes the catalogue, which cannot be done in the past")
            view.may_wait()
        headers: dict[str, str] = {}
        call = Call(
            view=view,
            service=self._service,
            caller=admitted.caller,
            project=admitted.project,
            address=incoming.address,
            request_id=incoming.request_id,
            action=action.name,
            time=self._clock(),
            default_limit=pin.limit,
            patient=attempt.patient,
            headers=headers,
            base_url=incoming.base_url,
        )
        body = envelope.success(action.name, action.handler(admitted.request, call))
        return Answer(body, 0, view.revision, headers, action.name)


def _bytes_of(incoming: Incoming) -> Hashable:
    return incoming.method, incoming.content_type, incoming.query, incoming.body


def max_body(registry: AnyRegistry, query: str) -> int:
    """Most bytes to read of a body. The query may name an Action that takes more; whether it may is decided later."""
    if "Action=" not in query:
        return SMALL_BODY
    name = query.rpartition("Action=")[2].partition("&")[0]
    action = registry.get(name)
    return action.max_body if action else SMALL_BODY


def _action_name(params: Params) -> str:
    name = params.get("Action")
    if not isinstance(name, str) or not name:
        raise MissingAction
    return name[:128]
