"""Actions as data: the name on the wire, the request and answer types, who may call it, and the function that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from phimage.gateway.cache import GatewayCache
from phimage.gateway.envelope import Encoded
from phimage.model.account import Key, PrivateKey, Right, Tenant, User
from phimage.model.ids import AccountId, ProjectId, PublicKey, Revision

SMALL_BODY = 64 * 1024
"""Most bytes in the body of an Action that says nothing else (wire-protocol B21)."""


class Present(Protocol):
    """What the gateway asks the catalogue: who is calling, as of now, and which revision an answer reflects."""

    @property
    def revision(self) -> Revision:
        """The revision that is looked at."""
        ...

    def may_wait(self) -> None:
        """Raises NotCached if this view may not read, or ServiceUnavailable at once when reading would be in vain."""
        ...

    def key(self, public: PublicKey) -> tuple[Key, PrivateKey] | None:
        """A key that works now, opened."""
        ...

    def tenant(self, account: AccountId) -> Tenant | None:
        """An account as it is now."""
        ...

    def account_scope(self, account: AccountId) -> str:
        """The scope of an account, its users, keys, projects and memberships."""
        ...


View = TypeVar("View", bound=Present)


class Call(Struct, Generic[View], frozen=True):
    """Everything about a request but its own parameters. `time` is Unix seconds; `default_limit` comes from the path.

    `patient` says that the caller can still wait for news; `headers` are put beside the answer; `cache` keeps responses
    and their parts; `base_url` gives the address at which the caller found this server.
    """

    view: View
    tenant: Tenant
    user: User
    key: PublicKey
    project: ProjectId
    address: str
    request_id: str
    action: str
    time: float
    default_limit: int | None
    patient: bool
    headers: dict[str, str]
    cache: GatewayCache
    base_url: Callable[[], str] = str

    @property
    def actor(self) -> str:
        """Who is calling, for the log: account/user and the public key."""
        return f"{self.tenant.account.id}/{self.user.name} {self.key}"


class Action(Struct, Generic[View], frozen=True, kw_only=True):
    """One Action.

    With `project` the caller's project is found from ProjectId and the right is needed there; without, ProjectId is
    ignored. `changes` says that it writes, so it is refused on a pinned path. `needs` makes optional fields required.
    """

    name: str
    request: type[Struct]
    response: type[Struct]
    answer: Callable[[Any, Call[View]], Struct | Encoded]
    right: Right
    project: bool = False
    changes: bool = False
    needs: frozenset[str] = frozenset()
    max_body: int = SMALL_BODY

    @property
    def summary(self) -> str:
        """What the Action is for: the docstring of its request type."""
        return (self.request.__doc__ or "").strip()


class Registry(Generic[View]):
    """All Actions by name."""

    def __init__(self, actions: Iterable[Action[View]]) -> None:
        self._actions = {action.name: action for action in actions}

    def get(self, name: str) -> Action[View] | None:
        """The Action of a name."""
        return self._actions.get(name)

    def __iter__(self) -> Iterator[Action[View]]:
        return iter(self._actions.values())
