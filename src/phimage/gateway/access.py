"""Authentication and authorization of requests, in the order of wire-protocol B5."""

from __future__ import annotations

from phimage.errors import (
    AddressRefused,
    MissingSignature,
    NotPermitted,
    UnknownProject,
    UnknownToken,
    UnknownUser,
    WrongSignature,
)
from phimage.gateway.doctor import diagnose
from phimage.gateway.params import Params
from phimage.gateway.registry import AnyAction, Caller, Present
from phimage.gateway.signature import verify
from phimage.model.account import PrivateKey, Right
from phimage.model.ids import ProjectId, PublicKey

NO_PROJECT = ProjectId("")


def authenticate(params: Params, view: Present, *, explain: bool = False) -> Caller:
    """The caller, by key and signature. Raises MissingSignature, UnknownUser, WrongSignature, UnknownToken, in that order.

    The only function that reads a signature. With `explain`, the message of WrongSignature names the likely mistake.
    """
    public, signature = params.get("PublicKey"), params.get("Signature")
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


def find_caller(key: PublicKey, view: Present) -> tuple[Caller, PrivateKey]:
    """The caller that a key names, not authenticated, and its private key. Raises UnknownUser."""
    pair = view.key(key)
    tenant = view.tenant(pair[0].account) if pair else None
    user = tenant.users.get(pair[0].user) if pair and tenant else None
    if pair is None or tenant is None or user is None:
        raise UnknownUser
    return Caller(tenant, user, pair[0].id), pair[1]


def check_address(caller: Caller, address: str) -> None:
    """Raises AddressRefused when the account does not allow calls from an address."""
    if not caller.account.may_call_from(address):
        raise AddressRefused(detail=f"calls from {address} are not allowed for this account; ask its operator to allow them")


def authorize(action: AnyAction, params: Params, caller: Caller) -> ProjectId:
    """The project of a request, NO_PROJECT for an Action without one. Raises UnknownProject or NotPermitted.

    A project of another account raises the same error as a project that does not exist.
    """
    # docs/decisions.md#operator-actions-refuse-with-299
    if action.right is Right.OPERATE and not caller.account.operator:
        raise NotPermitted(detail=f"{action.name} needs a key of the operator account")
    if not action.project:
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
