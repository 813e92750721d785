"""Every change that the console offers as a form, by name."""

from __future__ import annotations

from phimage.actions.accounts import CreateAccount, CreateAccountResponse, ModifyAccount
from phimage.actions.capture import CreatePHostImage, CreatePHostImageResponse
from phimage.actions.edit import UpdatePHostImage, UpdatePHostImageResponse
from phimage.actions.hosts import (
    AssignHost,
    EnrollTokenResponse,
    HostResponse,
    NewEnrollToken,
    RegisterHost,
    ReleaseHost,
    RemoveHost,
)
from phimage.actions.jobs import CancelPHostImageJob, CancelPHostImageJobResponse
from phimage.actions.keys import CreateAccessKey, NewKeyResponse, RevokeAccessKey
from phimage.actions.params import Empty
from phimage.actions.phosts import ReinstallPHost, ReinstallPHostResponse
from phimage.actions.projects import CreateProject, CreateProjectResponse, RemoveProject, RemoveProjectMember, SetProjectMember
from phimage.actions.quotas import SetQuota
from phimage.actions.restore import RestorePHostImage, RestorePHostImageResponse
from phimage.actions.users import CreateUser, CreateUserResponse, RemoveUser
from phimage.actions.withdraw import TerminatePHostImage, WithdrawnResponse, WithdrawPHostImage
from phimage.console.changes import ChangeKind, Parameters, as_given, number, parameters_of, show_change, words
from phimage.console.form import PageError
from phimage.console.pages.image_edit import edited_image
from phimage.console.visit import PageContent, Visit

MAX_DAYS = 36_500
MAX_GIB = 1 << 30
_ANY = "any"


async def _account(visit: Visit, kind: ChangeKind) -> Parameters:
    """An account's limits are typed as words; none means any."""
    found = parameters_of(visit.form, kind.action)
    for name in ("ZoneLimit", "NetworkLimit"):
        found[name] = words(visit.form.all(name)) or [_ANY]
    return found


async def _key(visit: Visit, kind: ChangeKind) -> Parameters:
    """The end of a key is given in days from now."""
    days = number(visit.form, "_days", MAX_DAYS) if visit.form.get("_days").strip() else 0
    return {**parameters_of(visit.form, kind.action), "ExpireTime": int(visit.now) + days * 86_400 if days else 0}


async def _quota(visit: Visit, kind: ChangeKind) -> Parameters:
    """A quota is given in GiB; an empty field removes it."""
    gib = visit.form.get("_gib").strip()
    return {**parameters_of(visit.form, kind.action), "Limit": number(visit.form, "_gib", MAX_GIB) << 30 if gib else -1}


KINDS = {
    kind.name: kind
    for kind in (
        ChangeKind("create-account", CreateAccount, CreateAccountResponse, "accounts", _account, result="new_key.html"),
        ChangeKind("modify-account", ModifyAccount, Empty, "accounts", _account),
        ChangeKind("create-user", CreateUser, CreateUserResponse, "accounts", as_given),
        ChangeKind("remove-user", RemoveUser, Empty, "accounts", as_given, typed="User"),
        ChangeKind("create-project", CreateProject, CreateProjectResponse, "accounts", as_given),
        ChangeKind("remove-project", RemoveProject, Empty, "accounts", as_given, typed="ProjectId"),
        ChangeKind("set-member", SetProjectMember, Empty, "accounts", as_given),
        ChangeKind("remove-member", RemoveProjectMember, Empty, "accounts", as_given),
        ChangeKind("create-key", CreateAccessKey, NewKeyResponse, "keys", _key, result="new_key.html"),
        ChangeKind("revoke-key", RevokeAccessKey, Empty, "keys", as_given, typed="AccessKey"),
        ChangeKind("set-quota", SetQuota, Empty, "quotas", _quota),
        ChangeKind("edit-image", UpdatePHostImage, UpdatePHostImageResponse, "images", edited_image),
        ChangeKind("deprecate-image", UpdatePHostImage, UpdatePHostImageResponse, "images", as_given),
        ChangeKind(
            "withdraw-image", WithdrawPHostImage, WithdrawnResponse, "images", as_given, typed="ImageId", names_hosts=True
        ),
        ChangeKind(
            "terminate-image", TerminatePHostImage, WithdrawnResponse, "images", as_given, typed="ImageId", names_hosts=True
        ),
        ChangeKind("restore-image", RestorePHostImage, RestorePHostImageResponse, "images", as_given),
        ChangeKind("register-host", RegisterHost, EnrollTokenResponse, "hosts", as_given, result="new_token.html"),
        ChangeKind("new-token", NewEnrollToken, EnrollTokenResponse, "hosts", as_given, result="new_token.html"),
        ChangeKind("assign-host", AssignHost, HostResponse, "hosts", as_given),
        ChangeKind("release-host", ReleaseHost, HostResponse, "hosts", as_given, typed="PHostId"),
        ChangeKind("remove-host", RemoveHost, HostResponse, "hosts", as_given, typed="PHostId"),
        ChangeKind("capture-host", CreatePHostImage, CreatePHostImageResponse, "hosts", as_given),
        ChangeKind("reinstall-host", ReinstallPHost, ReinstallPHostResponse, "hosts", as_given, typed="PHostId"),
        ChangeKind("cancel-job", CancelPHostImageJob, CancelPHostImageJobResponse, "jobs", as_given, typed="JobId"),
    )
}


async def act(visit: Visit, name: str) -> PageContent:
    """Answer the form of a change. Raises PageError for an unknown one."""
    kind = KINDS.get(name)
    if kind is None:
        raise PageError(404, "absent")
    return await show_change(visit, kind)


async def show_nothing(visit: Visit, name: str) -> PageContent:
    """Lead a browser that loads the address of a form to the page that has the forms."""
    kind = KINDS.get(name)
    if kind is None:
        raise PageError(404, "absent")
    return PageContent(location=visit.address.link(kind.area))
