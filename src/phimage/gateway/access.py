"""Authentication and authorization of requests, in the order of wire-protocol B5."""

from __future__ import annotations

import re
from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace

from phimage.errors import (
    AddressRefused,
    MissingSignature,
    NotPermitted,
    UnavailableParam,
    UnknownProject,
    UnknownToken,
    UnknownUser,
    WrongSignature,
)
from phimage.gateway.doctor import diagnose
from phimage.gateway.params import Params
from phimage.gateway.registry import AnyAction, Caller, Credential, Present
from phimage.gateway.signature import SIGNATURE, verify
from phimage.http_signature import MAX_AGE_SECONDS, RequestSignature
from phimage.model.account import Account, PrivateKey, Right, Tenant, User
from phimage.model.ids import ENROL_TOKEN, HOST_KEY, AccountId, ProjectId, PublicKey, UserId

NO_PROJECT = ProjectId("")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
COMMON = frozenset({"Action", "Region", "Zone", "ProjectId"})
"""Parameters that clients add to requests of Actions that do not have them."""
OF_CLIENTS = frozenset({"PublicKey", SIGNATURE, "SecurityToken", "base-url", "profile", "public-key", "private-key"})
"""Parameters of signatures of version 1, and flags that UCloud's CLI sends as parameters (wire-protocol B23)."""

IGNORED = COMMON | OF_CLIENTS
"""Parameters that any request may have."""


class Head(Struct, frozen=True):
    """What a signature of version 2 covers besides the body: method, and path and query as received."""

    signature: RequestSignature
    method: str
    path: str
    query: str


class SessionCredential(Struct, frozen=True):
    """The key of a session, which stands for the signatures of its requests, and the name of the program that keeps it.

    `nonce` makes a change unrepeatable, as that of a signature does; empty for a request that may come again. Only code of this
    process makes one, of a session that it has verified: nothing in a request of the network becomes one.
    """

    key: PublicKey
    program: str
    nonce: str = ""


def authenticate(params: Params, view: Present, *, explain: bool = False) -> Caller:
    """The caller, by key and signature of version 1. Raises MissingSignature, UnknownUser, WrongSignature, UnknownToken, in
    that order.

    With `explain`, the message of WrongSignature names the likely mistake.
    """
    public, signature = params.get("PublicKey"), params.get(SIGNATURE)
    if not (isinstance(public, str) and public and isinstance(signature, str) and signature):
        raise MissingSignature
    caller, private_key = find_caller(PublicKey(public), view)
    if not verify(params, signature, private_key):
        wrong = WrongSignature()
        if explain:
            wrong.message += f": {diagnose(params, signature, private_key).text()}"
        raise wrong
    if params.get("SecurityToken"):
        raise UnknownToken
    return caller


# docs/decisions.md#two-versions-of-signatures
def authenticate_head(head: Head, view: Present, now: float) -> Caller:
    """The caller, by a signature of version 2 over all but the body. Raises UnknownUser and WrongSignature."""
    signature = head.signature
    caller, private_key = find_caller(PublicKey(signature.key), view)
    if not signature.is_by(private_key.reveal(), head.method, head.path, head.query):
        raise WrongSignature
    if abs(now - signature.created) > MAX_AGE_SECONDS:
        late = f"the signature is {abs(now - signature.created):.0f} seconds {'old' if now > signature.created else 'early'}"
        detail = f"{late}, and at most {MAX_AGE_SECONDS} are allowed: compare your clock with ServerTime"
        raise WrongSignature(detail=detail, fields={"ServerTime": int(now)})
    return replace(caller, nonce=signature.nonce)


# docs/decisions.md#the-console-enters-with-the-key-of-its-session
def authenticate_session(credential: SessionCredential, view: Present, request_id: str) -> Caller:
    """The caller of a session, as if the request had a signature of version 2 with a nonce. Raises UnknownUser."""
    caller, _private_key = find_caller(credential.key, view)
    return replace(caller, nonce=credential.nonce or request_id, program=credential.program)


def check_body(head: Head, body: bytes) -> None:
    """Raises WrongSignature for another body than the signed one."""
    if not head.signature.is_of(body):
        raise WrongSignature(detail="Content-Digest is not the SHA-256 of the body")


def check_one_signature(params: Params) -> None:
    """Raises UnavailableParam for the parameters of a second signature."""
    for name in ("PublicKey", SIGNATURE):
        if name in params:
            raise UnavailableParam(name, detail="the request has a signature in its header: leave the parameter out")


def check_names(params: Params) -> None:
    """Raises UnavailableParam for a name that is no parameter's (wire-protocol B23).

    Signatures of version 1 run names and values together, so other characters can move between them.
    """
    for name in params:
        if not _NAME.fullmatch(name):
            printable = name.encode("utf-8", "replace").decode("utf-8")
            raise UnavailableParam(printable, detail="a name consists of letters, digits, . _ and -")


def check_known(action: AnyAction, params: Params, known: Collection[str], caller: Caller) -> None:
    """Raises UnavailableParam for a parameter that a strict Action does not have (wire-protocol B23)."""
    allowed = COMMON if caller.signs_requests else IGNORED
    for name in params:
        if name not in known and name not in allowed:
            raise UnavailableParam(name, detail=f"{action.name} has no such parameter; phimage api --describe lists them")


def find_caller(key: PublicKey, view: Present) -> tuple[Caller, PrivateKey]:
    """The caller that a key names, not authenticated, and its private key. Raises UnknownUser."""
    if key.startswith((ENROL_TOKEN, HOST_KEY)):
        return _find_agent(key, view)
    pair = view.key(key)
    tenant = view.tenant(pair[0].account) if pair else None
    user = tenant.users.get(pair[0].user) if pair and tenant else None
    if pair is None or tenant is None or user is None:
        raise UnknownUser
    return Caller(tenant, user, pair[0].id, pair[0].expires), pair[1]


def _find_agent(key: PublicKey, view: Present) -> tuple[Caller, PrivateKey]:
    """The agent that a host's key or enrol token names, and its secret. Raises UnknownUser."""
    found = view.host_key(key)
    if found is None:
        raise UnknownUser(detail="the host's credential was replaced or revoked: make a new one with `phimage host token`")
    nobody = Account(AccountId(f"host:{found.host}"), operator=False, company="", email="", zones=(), networks=(), created=0)
    user = User(UserId(0), nobody.id, "agent", "", main=False, created=0)
    credential = Credential.ENROL_TOKEN if found.is_token else Credential.HOST_KEY
    caller = Caller(Tenant(nobody, {}, {}, {}), user, key, found.expires, credential=credential, host=found.host)
    return caller, found.secret


def check_each_time(caller: Caller, address: str, now: float) -> None:
    """The checks whose result depends on more than the signed bytes. Raises UnknownUser and AddressRefused."""
    if caller.expires and now >= caller.expires:
        raise UnknownUser(detail="the key has expired; its operator can create another")
    if not caller.account.may_call_from(address):
        raise AddressRefused(detail=f"calls from {address} are not allowed for this account; ask its operator to allow them")


def authorize(action: AnyAction, params: Params, caller: Caller, *, allow_legacy: bool = False) -> ProjectId:
    """The project of a request, NO_PROJECT for an Action without one. Raises UnknownProject or NotPermitted.

    A project of another account raises the same error as a project that does not exist. With `allow_legacy`, signatures of
    version 1 may call every Action.
    """
    if caller.credential is not action.credential:
        wanted, other = action.credential.value, caller.credential.value
        raise NotPermitted(detail=f"{action.name} must be signed with the {wanted}, not with the {other}")
    # docs/decisions.md#operator-actions-refuse-with-299
    if action.right is Right.OPERATE and not caller.account.operator:
        raise NotPermitted(detail=f"{action.name} needs a key of the operator account")
    if action.needs_version_2 and not (caller.signs_requests or allow_legacy):
        raise NotPermitted(
            detail=f"{action.name} needs signature version 2 (HTTP Message Signatures, RFC 9421): use phimage's commands"
        )
    if not action.project or (action.any_project and caller.account.operator):
        return NO_PROJECT
    tenant, user = caller.tenant, caller.user
    given = params.get("ProjectId")
    if given:
        project = tenant.projects.get(ProjectId(given)) if isinstance(given, str) else None
        if project is None:
            raise UnknownProject(given if isinstance(given, str) else "")
    else:
        project = tenant.default_project()
        if not user.main:
            raise NotPermitted(detail="a sub-user must name the project: give ProjectId (see GetProjectList)")
        if project is None:
            raise UnknownProject
    if tenant.right(user, project.id) < action.right:
        role = "editor" if action.right is Right.CHANGE else "viewer"
        raise NotPermitted(detail=f"{action.name} needs the role {role} in project {project.id}")
    return project.id
