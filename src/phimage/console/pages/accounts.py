"""Accounts with their users, projects and keys, for operators; and the projects of a tenant."""

from __future__ import annotations

from phimage.actions.accounts import AccountSet, ListAccounts, ListAccountsResponse
from phimage.actions.caller import GetProjectList, GetProjectListResponse
from phimage.actions.keys import ListAccessKeys, ListAccessKeysResponse
from phimage.actions.projects import ListProjects, ListProjectsResponse
from phimage.actions.users import ListUsers, ListUsersResponse
from phimage.console.form import PageError
from phimage.console.pages.places import places
from phimage.console.visit import PageContent, Visit
from phimage.model.account import Role


async def show_accounts(visit: Visit) -> PageContent:
    """The page of all accounts."""
    accounts = await _accounts(visit)
    find = visit.address.get("q").lower()
    shown = [each for each in accounts if find in f"{each.account} {each.company} {each.email}".lower()]
    return PageContent("accounts.html", {"accounts": shown, "total": len(accounts)})


async def show_account(visit: Visit, id: str) -> PageContent:
    """The page of one account."""
    account = next((each for each in await _accounts(visit) if each.account == id), None)
    if account is None:
        raise PageError(404, "absent")
    users = await visit.change(ListUsers, ListUsersResponse, Account=id)
    projects = await visit.change(ListProjects, ListProjectsResponse, Account=id)
    keys = await visit.change(ListAccessKeys, ListAccessKeysResponse, Account=id)
    return PageContent(
        "account.html",
        {
            "account": account,
            "users": users.user_set,
            "projects": projects.project_set,
            "keys": keys.key_set,
            "roles": tuple(Role),
            "topology": await places(visit),
        },
    )


async def show_keys(visit: Visit) -> PageContent:
    """The page of the keys of an account, by default the person's own."""
    account = visit.address.get("Account") or visit.session.account
    keys = await visit.change(ListAccessKeys, ListAccessKeysResponse, Account=account)
    users = await visit.change(ListUsers, ListUsersResponse, Account=account)
    accounts = [each.account for each in await _accounts(visit)]
    return PageContent("keys.html", {"keys": keys.key_set, "users": users.user_set, "account": account, "accounts": accounts})


async def show_projects(visit: Visit) -> PageContent:
    """The page of the projects: of an account for operators, and those that a tenant sees for all others."""
    if not visit.session.is_operator:
        found = await visit.change(GetProjectList, GetProjectListResponse)
        return PageContent("projects.html", {"own": found.project_set, "projects": (), "account": "", "accounts": ()})
    account = visit.address.get("Account") or visit.session.account
    projects = await visit.change(ListProjects, ListProjectsResponse, Account=account)
    accounts = [each.account for each in await _accounts(visit)]
    return PageContent("projects.html", {"own": (), "projects": projects.project_set, "account": account, "accounts": accounts})


async def _accounts(visit: Visit) -> tuple[AccountSet, ...]:
    return (await visit.change(ListAccounts, ListAccountsResponse)).account_set
