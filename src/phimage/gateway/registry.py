"""Actions as data: the request and response types, the required right, and the handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from phimage.gateway.cache import GatewayCache
from phimage.gateway.envelope import Encoded
from phimage.model.account import Account, Key, PrivateKey, Right, Tenant, User
from phimage.model.host import HostKey
from phimage.model.ids import AccountId, HostId, ProjectId, PublicKey, Revision

SMALL_BODY = 64 * 1024
"""Max bytes in the body of an Action that sets no limit of its own (wire-protocol B21)."""


class Credential(Enum):
    """What signs a request: the key of a person or program, the enrol token of a host, or the key of a host's agent."""

    KEY = "key"
    ENROL_TOKEN = "enrol token"  # noqa: S105 - a name
    HOST_KEY = "host key"


class Present(Protocol):
    """What the gateway reads from the catalogue: the caller as of now, and the revision that a response reflects."""

    @property
    def revision(self) -> Revision:
        """The revision of this view."""
        ...

    def may_wait(self) -> None:
        """Raises NotCached if this view may not read, or ServiceUnavailable at once when the database is away."""
        ...

    def key(self, public: PublicKey) -> tuple[Key, PrivateKey] | None:
        """A key that works now, with its decrypted private key."""
        ...

    def host_key(self, id: PublicKey) -> HostKey | None:
        """An enrol token, or the key of a host's agent, that works now."""
        ...

    def tenant(self, account: AccountId) -> Tenant | None:
        """An account as it is now."""
        ...

    def account_scope(self, account: AccountId) -> str:
        """The scope of an account, its users, keys, projects and memberships."""
        ...


View = TypeVar("View", bound=Present)
Service = TypeVar("Service")


class Caller(Struct, frozen=True):
    """An authenticated caller, whatever the signature scheme: the user of a key, and the tenant of that user.

    `expires`: the Unix time at which the key ends; 0 for never. `nonce` is that of a signature of version 2; empty for
    version 1. `program` is the one whose session stands for the signature; empty for a signed request. `host` is that of an
    agent, whose tenant and user are nobody's; empty for all other callers.
    """

    tenant: Tenant
    user: User
    key: PublicKey
    expires: int = 0
    nonce: str = ""
    program: str = ""
    credential: Credential = Credential.KEY
    host: HostId = HostId("")

    @property
    def account(self) -> Account:
        """The caller's account."""
        return self.tenant.account

    @property
    def signs_requests(self) -> bool:
        """Whether the signature covers the request as sent (version 2), and not its parameters run together."""
        return bool(self.nonce)

    @property
    def actor(self) -> str:
        """The caller in the log of revisions: account/user and the public key, and the program of a session."""
        actor = f"{self.account.id}/{self.user.name} {self.key}"
        return f"{actor} via {self.program}" if self.program else actor


class Call(Struct, Generic[View, Service], frozen=True):
    """Everything about a request but its own parameters.

    `service` is what handlers work with besides the catalogue's `view`. `time` is Unix seconds. `default_limit` comes from
    the path. `patient`: the handler may raise LongPoll. `headers` are added to the response. `base_url` returns the address
    under which the caller reached this server. `hints` name ignored parameters that are nearly known ones. `dry_run`: what
    the handler changes is undone; see DryRun.
    """

    view: View
    service: Service
    caller: Caller
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
    hints: tuple[str, ...] = ()
    dry_run: bool = False


# docs/decisions.md#a-dry-run-is-a-change-that-is-undone
class DryRun(Exception):
    """Not an error: undoes the change of a dry run. Has the response, which says what was changed."""

    def __init__(self, response: Struct) -> None:
        self.response = response
        super().__init__("a dry run")


# docs/decisions.md#a-handler-finds-its-service-in-the-call
class Action(Struct, Generic[View, Service], frozen=True):
    """One Action, named after its request type.

    With `project`, the right is required in the project that ProjectId names; without, ProjectId is ignored. With
    `any_project`, operator accounts call it for all projects, and their calls have none. `changes`: the Action writes, so a
    pinned path refuses it. `max_body` is in bytes. `ucloud`: a changing Action of UCloud's API, which its clients sign with
    version 1. `credential` is what signs it; agents of hosts call their own Actions alone.
    """

    request: type[Struct]
    response: type[Struct]
    handler: Callable[[Any, Call[View, Service]], Struct | Encoded]
    right: Right
    project: bool = False
    any_project: bool = False
    changes: bool = False
    ucloud: bool = False
    credential: Credential = Credential.KEY
    # docs/decisions.md#operator-commands-are-actions
    max_body: int = SMALL_BODY

    @property
    def name(self) -> str:
        """The value of the parameter Action."""
        return self.request.__name__

    @property
    def needs_version_2(self) -> bool:
        """Whether only a signature of version 2 may call it (wire-protocol B24)."""
        changes = self.changes or self.right is Right.CHANGE  # an upload URL changes nothing yet, and lets its bearer do so
        of_agents = self.credential is not Credential.KEY
        return of_agents or self.right is Right.OPERATE or (changes and not self.ucloud)

    @property
    def is_strict(self) -> bool:
        """Whether it refuses parameters that it does not have (wire-protocol B23)."""
        return self.needs_version_2 or self.changes

    @property
    def summary(self) -> str:
        """The purpose of the Action: the docstring of its request type."""
        return (self.request.__doc__ or "").strip()


AnyAction = Action[Any, Any]


class Registry(Generic[View, Service]):
    """All Actions by name, and the settings that fields of their requests refer to (see `phimage.fields`)."""

    def __init__(self, actions: Iterable[Action[View, Service]], settings: Struct) -> None:
        self._actions = {action.name: action for action in actions}
        self.settings = settings

    def get(self, name: str) -> Action[View, Service] | None:
        """The Action of a name."""
        return self._actions.get(name)

    def __iter__(self) -> Iterator[Action[View, Service]]:
        return iter(self._actions.values())


AnyRegistry = Registry[Any, Any]
