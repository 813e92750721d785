"""Authentication and authorization, in the order of wire-protocol B5."""

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
from phimage.gateway.registry import Action, Present, View
from phimage.gateway.signature import verify
from phimage.model.account import Right, Tenant, User
from phimage.model.ids import ProjectId, PublicKey

NO_PROJECT = ProjectId("")

Caller = tuple[Tenant, User, PublicKey]


def authenticate(params: Params, view: Present, *, explain: bool = False) -> Caller:
    """The caller, by key and signature. Raises MissingSignature, UnknownUser, WrongSignature, UnknownToken, in that order.

    With `explain` the message of WrongSignature contains the diagnosis of the signature doctor.
    """
    public, signature = params.get("PublicKey"), params.get("Signature")
    if not (isinstance(public, str) and public and isinstance(signature, str) and signature):
        raise MissingSignature
    opened = view.key(PublicKey(public))
    tenant = view.tenant(opened[0].account) if opened else None
    user = tenant.users.get(opened[0].user) if opened and tenant else None
    if opened is None or tenant is None or user is None:
        raise UnknownUser
    key, private = opened
    if not verify(params, signature, private):
        wrong = WrongSignature()
        if explain:
            wrong.message += f": {diagnose(params, signature, private).text()}"
        raise wrong
    if params.get("SecurityToken"):
        raise UnknownToken
    return tenant, user, key.id


def check_address(tenant: Tenant, address: str) -> None:
    """Raises AddressRefused when the account may not be used from an address."""
    if not tenant.account.may_call_from(address):
        raise AddressRefused(detail=f"calls from {address} are not allowed for this account; ask its operator to allow them")


def authorize(action: Action[View], params: Params, tenant: Tenant, user: User) -> ProjectId:
    """The project of a request, in which the user has the Action's right. Raises UnknownProject or NotPermitted.

    The error for a project of another account is the same as for one that does not exist.
    """
    if action.right is Right.OPERATE and not tenant.account.operator:
        raise NotPermitted(detail=f"{action.name} needs a key of the operator account")
    if not action.project:
        return NO_PROJECT
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
