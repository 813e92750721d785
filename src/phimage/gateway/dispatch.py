"""The dispatcher: one request, from its bytes to the bytes of its response."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, Protocol, TypeVar

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
    WrongSignature,
)
from phimage.event_log import log
from phimage.gateway.access import (
    IGNORED,
    Head,
    SessionCredential,
    authenticate,
    authenticate_head,
    authenticate_session,
    authorize,
    check_body,
    check_each_time,
    check_known,
    check_names,
    check_one_signature,
)
from phimage.gateway.cache import GatewayCache, known_key
from phimage.gateway.decode import decode, hints, readers_of
from phimage.gateway.envelope import Encoded, RawResponse, failure, success
from phimage.gateway.params import Params, read_params
from phimage.gateway.path import Pin, read_path
from phimage.gateway.rate import RateLimit
from phimage.gateway.registry import SMALL_BODY, Action, AnyRegistry, Call, Caller, Credential, DryRun, Present, Registry
from phimage.http_signature import InvalidSignature, read_signature
from phimage.model.ids import ProjectId, PublicKey, Revision
from phimage.revision_cache import ScopeVersions

View = TypeVar("View", bound=Present)
Service = TypeVar("Service")
AnyView = TypeVar("AnyView", bound=Present, covariant=True)


class Views(Protocol[AnyView]):
    """The catalogue as a source of views. With `wait=False` a view raises NotCached instead of reading."""

    @property
    def scope_versions(self) -> ScopeVersions:
        """The last change of each scope."""
        ...

    def now(self, *, wait: bool) -> AnyView:
        """A view of the newest revision that this process knows."""
        ...

    def newest(self) -> AnyView:
        """A view of the newest revision of all processes. Reads the database."""
        ...

    def at(self, revision: Revision, *, wait: bool) -> AnyView:
        """A view of a past revision."""
        ...

    def revision_at(self, time: int) -> Revision:
        """The newest revision at a time, in microseconds since 1970. Reads the database."""
        ...


# docs/decisions.md#identical-requests-are-verified-once
MAX_CACHED_REQUEST = 4096
"""The maximum size of a request that is cached, in bytes."""


HINT_HEADER = "X-Phimage-Hint"
"""Header of a response that ignored parameters with nearly the name of a known one: `Machinetype (MachineType?), ...`."""


class RawRequest(Struct, frozen=True):
    """A request as received, with its whole body. `address` is the client's; `base_url` returns the URL that it used.

    `raw_path` is still percent-encoded. `header` has the fields of a signature of version 2; None if there are none.
    `session` is that of a request from this process, which has no signature. `dry_run`: undo what it changes; see DryRun.
    """

    method: str
    path: str
    query: str
    content_type: str
    body: bytes
    address: str
    request_id: str
    base_url: Callable[[], str] = str
    raw_path: str = ""
    header: Mapping[str, str] | None = None
    session: SessionCredential | None = None
    dry_run: bool = False

    @property
    def size(self) -> int:
        """The bytes of all that a cache may keep of it: a client makes each of them as long as it likes."""
        return len(self.path) + len(self.content_type) + len(self.query) + len(self.body)

    def head(self) -> Head | None:
        """What a signature of version 2 covers; None if there is no such signature. Raises WrongSignature."""
        if self.header is None:
            return None
        try:
            signature = read_signature(self.header)
        except InvalidSignature as error:
            raise WrongSignature(detail=str(error)) from None
        return None if signature is None else Head(signature, self.method, self.raw_path, self.query)


class Attempt(Struct):
    """The state of a request between attempts to answer it.

    `wait`: it may read the database. `patient`: it may raise LongPoll. `counted`: it was counted against the rate of its key.
    `params`: its parameters, once they are read.
    """

    wait: bool = False
    patient: bool = True
    counted: bool = False
    params: Params | None = None


class _Admitted(Struct, Generic[View, Service], frozen=True):
    """A request that passed all checks: its Action, its typed request, its caller and its project, and hints for its author."""

    action: Action[View, Service]
    request: Struct
    caller: Caller
    project: ProjectId
    hints: tuple[str, ...]


class _Known(Struct, frozen=True):
    """A request that was admitted, with its response: who sent it, the Action's name, and the response's body."""

    caller: Caller
    action: str
    body: bytes


class Dispatcher(Generic[View, Service]):
    """Answers requests. Thread-safe. Raises nothing but NotCached and LongPoll."""

    def __init__(
        self,
        registry: Registry[View, Service],
        views: Views[View],
        service: Service,
        rate_limit: RateLimit | None = None,
        *,
        explain_signatures: bool = False,
        allow_legacy_operator_signatures: bool = False,
        clock: Callable[[], float] = time.time,
        signed_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        used: Callable[[PublicKey], object] = lambda key: None,
    ) -> None:
        """`clock` dates changes, and `signed_clock` judges the time of signatures. `monotonic` measures rates, so that a clock
        step neither refuses nor admits requests.

        `used` is called with the key of each authenticated request.
        """
        self.registry = registry
        self.cache = GatewayCache(views.scope_versions)
        self._views = views
        self._service = service
        self._rate_limit = rate_limit
        self._explain_signatures = explain_signatures
        self._allow_legacy = allow_legacy_operator_signatures
        self._clock = clock
        self._signed_clock = signed_clock
        self._monotonic = monotonic
        self._used = used

    def answer(self, raw: RawRequest, attempt: Attempt) -> RawResponse:
        """The response to a request. Raises NotCached or LongPoll if the attempt allows it."""
        name = ""
        view: View | None = None
        try:
            view = self._views.now(wait=attempt.wait)
            admitted = self._known(raw, view)
            if admitted is not None:
                name = admitted.action.name
                self._check_each_time(admitted.caller, raw.address, attempt)
            else:
                if attempt.params is None:
                    attempt.params = self._params(raw, view)
                name = _action_name(attempt.params)
                admitted = self._admit(name, attempt.params, view, raw, attempt)
            pin = read_path(raw.path)  # after authentication: an unknown caller gets no other error and causes no reads
            view = self._view(pin, view)
            response = self._run(admitted, pin, view, raw, attempt)
            self._keep(raw, admitted, response)
            return response
        except (NotCached, LongPoll):
            raise
        except Exception as error:  # noqa: BLE001 - every request gets a response
            return self._failure(error, name, view, raw)

    def refuse_large(self, raw: RawRequest, attempt: Attempt) -> RequestError | None:
        """Why a request may have no body of more than SMALL_BODY; None if it may. Raises NotCached.

        Called before the body is read: only a verified signature of version 2, which covers Content-Digest, admits more.
        """
        try:
            view = self._views.now(wait=attempt.wait)
            head = raw.head()
            if head is None:
                detail = f"at most {SMALL_BODY} bytes, unless a signature of version 2 covers the Content-Digest"
                return TooLargeParam("request", detail=detail)
            self._check_each_time(authenticate_head(head, view, self._signed_clock()), raw.address, attempt)
        except RequestError as error:
            return error
        except NotCached:
            raise
        except Exception as error:  # noqa: BLE001 - every request gets a response
            return self._defect(error, "", raw)
        return None

    def _params(self, raw: RawRequest, view: View) -> Params:
        """The parameters of a request. Verifies a signature of version 2, and the body that it covers, before it parses it."""
        if raw.session is not None:
            return read_params(raw.method, raw.content_type, raw.query, raw.body, is_verified=True)
        head = raw.head()
        if head is None:
            return read_params(raw.method, raw.content_type, raw.query, raw.body)
        authenticate_head(head, view, self._signed_clock())
        check_body(head, raw.body)
        # No content type is signed, so none decides what signed bytes mean.
        return read_params(raw.method, "", raw.query, raw.body, is_verified=True)

    def _failure(self, error: Exception, name: str, view: View | None, raw: RawRequest) -> RawResponse:
        known = name if self.registry.get(name) else ""
        if isinstance(error, RequestError):
            return RawResponse(failure(name, error), error.ret_code, view.revision if view else None, action=known)
        defect = self._defect(error, name, raw)
        return RawResponse(failure(name, defect), defect.ret_code, None, action=known)

    def _defect(self, error: Exception, name: str, raw: RawRequest) -> ServiceUnavailable:
        log.exception("request.failed", error, action=name, request_id=raw.request_id)
        return ServiceUnavailable(detail="an error inside phimage; its log has the request id")

    def answer_known(self, key: Hashable, address: str, attempt: Attempt) -> RawResponse | None:
        """The response to an identical request, by its `known_key`, if no revision has changed it since. None means: ask
        `answer`, with the same attempt. Raises nothing.
        """
        try:
            revision = self._views.now(wait=False).revision
            known: _Known | None = self.cache.get_known(key, revision)
            if known is None:
                return None
            self._check_each_time(known.caller, address, attempt)
        except Exception:  # noqa: BLE001 - `answer` meets it again, and answers with it
            return None
        return RawResponse(known.body, 0, revision, action=known.action)

    def _keep(self, raw: RawRequest, admitted: _Admitted[View, Service], response: RawResponse) -> None:
        """Keep a response that depends on nothing but the request's bytes and the scopes that it names."""
        body = response.body
        if not isinstance(body, Encoded) or not body.scopes or response.headers or response.revision is None:
            return
        if raw.header is None and raw.session is None and raw.size <= MAX_CACHED_REQUEST:
            known = _Known(admitted.caller, response.action, body)
            key = known_key(raw.method, raw.path, raw.content_type, raw.query, raw.body)
            self.cache.put_known(key, known, response.revision, body.scopes, raw.size + len(body))

    def _known(self, raw: RawRequest, view: View) -> _Admitted[View, Service] | None:
        """The request, if identical bytes were admitted and the caller's account is unchanged: then the signature is still
        valid, since version 1 signs no time and clients may repeat a request."""
        if raw.header is not None or raw.session is not None:
            return None
        known: _Admitted[View, Service] | None = self.cache.get_request(_cache_key(raw), view.revision)
        return known

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

    def _admit(self, name: str, params: Params, view: View, raw: RawRequest, attempt: Attempt) -> _Admitted[View, Service]:
        """All checks that need no catalogue data but the account, in the order of wire-protocol B5."""
        head = None if raw.session is not None else raw.head()
        if raw.session is not None:
            caller = authenticate_session(raw.session, view, raw.request_id)
            check_one_signature(params)
        elif head is None:
            caller = authenticate(params, view, explain=self._explain_signatures)
        else:
            caller = authenticate_head(head, view, self._signed_clock())
            check_one_signature(params)
        self._check_each_time(caller, raw.address, attempt)
        check_names(params)
        action = self.registry.get(name)
        if action is None:
            raise UnknownAction(name)
        if len(raw.body) > action.max_body:
            raise TooLargeParam("request", detail=f"at most {action.max_body} bytes for {name}")
        project = authorize(action, params, caller, allow_legacy=self._allow_legacy)
        settings = self.registry.settings
        request = decode(action.request, params, settings)
        admitted = _Admitted(action, request, caller, project, hints(action.request, params, IGNORED, settings))
        if action.is_strict:
            known = {name for reader in readers_of(action.request, settings) for name in reader.names(params)}
            check_known(action, params, known, caller)
        if head is None and raw.session is None and raw.size <= MAX_CACHED_REQUEST and not action.changes:
            self.cache.put_request(_cache_key(raw), admitted, view.revision, view.account_scope(caller.account.id), raw.size)
        return admitted

    def _check_each_time(self, caller: Caller, address: str, attempt: Attempt) -> None:
        check_each_time(caller, address, self._clock())
        if caller.credential is Credential.KEY:
            self._used(caller.key)
        if self._rate_limit is not None and not attempt.counted:
            self._rate_limit.spend(caller.key, self._monotonic())
            attempt.counted = True

    def _run(self, admitted: _Admitted[View, Service], pin: Pin, view: View, raw: RawRequest, attempt: Attempt) -> RawResponse:
        action, name = admitted.action, admitted.action.name
        if action.changes:
            if pin.pinned:
                raise UnavailableParam("rev", detail=f"{name} changes the present: send it to a path without rev or at")
            view.may_wait()
            view = self._views.newest()  # docs/decisions.md#changes-are-judged-by-the-newest-revision
        headers = {HINT_HEADER: ", ".join(admitted.hints)} if admitted.hints else {}
        call = Call(
            view=view,
            service=self._service,
            caller=admitted.caller,
            project=admitted.project,
            address=raw.address,
            request_id=raw.request_id,
            action=name,
            time=self._clock(),
            default_limit=pin.limit,
            patient=attempt.patient,
            headers=headers,
            cache=self.cache,
            base_url=raw.base_url,
            hints=admitted.hints,
            dry_run=raw.dry_run,
        )
        try:
            response = action.handler(admitted.request, call)
        except DryRun as dry_run:
            response = dry_run.response
        return RawResponse(success(name, response), 0, view.revision, headers, name)


def _cache_key(raw: RawRequest) -> Hashable:
    return raw.method, raw.content_type, raw.query, raw.body


def max_body(registry: AnyRegistry, query: str) -> int:
    """The maximum body of the Action that a query names, in bytes. `answer` checks that the body has the same Action."""
    if "Action=" not in query:
        return SMALL_BODY
    name = query.rpartition("Action=")[2].partition("&")[0]
    action = registry.get(name)
    return action.max_body if action else SMALL_BODY


def _action_name(params: Params) -> str:
    name = params.get("Action")
    if not isinstance(name, str) or not name:
        what = "this is phimage, the image service of a bare metal cloud"
        raise MissingAction(detail=f"{what}; /openapi.json lists its Actions, and /console/ shows it to people")
    return name[:128]
