"""Accounts with their users, keys and projects, and the rights of roles."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from enum import IntEnum, StrEnum

from msgspec import Struct

from phimage.model.ids import AccountId, ProjectId, PublicKey, UserId, ZoneId


class Role(StrEnum):
    """The role of a sub-user in a project: a viewer lists images, an editor also changes custom images."""

    VIEWER = "viewer"
    EDITOR = "editor"


class Right(IntEnum):
    """The right that an Action requires, weakest first."""

    KEY = 0
    """Any valid key: the Action is about the caller, or about places."""
    READ = 1
    """To list the images of a project."""
    CHANGE = 2
    """To change the custom images of a project."""
    OPERATE = 3
    """To run the cloud: only keys of an operator account."""


class PrivateKey:
    """A private key. Only `reveal` returns its text, so that no log or traceback can contain it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The key itself."""
        return self._text

    def __repr__(self) -> str:
        return "PrivateKey(***)"

    __str__ = __repr__


class Account(Struct, frozen=True):
    """A customer, or the operator of the cloud.

    `zones` are the zones that it may use, `networks` the source networks from which its keys work (`192.0.2.0/24`,
    `2001:db8::/32`). Empty means no limit.
    """

    id: AccountId
    operator: bool
    company: str
    email: str
    zones: tuple[ZoneId, ...]
    networks: tuple[str, ...]
    created: int

    def may_use_zone(self, zone: ZoneId) -> bool:
        """Whether the account may use a zone."""
        return not self.zones or zone in self.zones

    def may_call_from(self, address: str) -> bool:
        """Whether the account's keys work from an address. An IPv4 address mapped into IPv6 counts as IPv4."""
        if not self.networks:
            return True
        try:
            source = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped:
            source = source.ipv4_mapped
        return any(source in ipaddress.ip_network(network) for network in self.networks)


class User(Struct, frozen=True):
    """A person or program of an account. The main user has all projects, a sub-user those of which it is a member."""

    id: UserId
    account: AccountId
    name: str
    email: str
    main: bool
    created: int


class Key(Struct, frozen=True):
    """An access key. `encrypted` is the private key, encrypted under the installation's master key.

    `expires`: the Unix time at which it stops working; 0 for never.
    """

    id: PublicKey
    account: AccountId
    user: UserId
    encrypted: bytes
    created: int
    expires: int = 0


class Project(Struct, frozen=True):
    """A project of an account, the owner of custom images. An account has exactly one default project."""

    id: ProjectId
    account: AccountId
    name: str
    default: bool
    created: int


class Membership(Struct, frozen=True):
    """A sub-user's role in a project."""

    project: ProjectId
    user: UserId
    account: AccountId
    role: Role


class Tenant(Struct, frozen=True):
    """An account with its users, projects and memberships: everything that authorization needs."""

    account: Account
    users: Mapping[UserId, User]
    projects: Mapping[ProjectId, Project]
    roles: Mapping[tuple[ProjectId, UserId], Role]

    def default_project(self) -> Project | None:
        """The project of a request without ProjectId."""
        return next((project for project in self.projects.values() if project.default), None)

    def right(self, user: User, project: ProjectId) -> Right:
        """The strongest right of a user in a project of the account."""
        if user.main:
            return Right.CHANGE
        role = self.roles.get((project, user.id))
        if role is None:
            return Right.KEY
        return Right.CHANGE if role is Role.EDITOR else Right.READ

    def members(self, project: ProjectId) -> int:
        """The number of users of the account who can see a project."""
        main = sum(user.main for user in self.users.values())
        return main + sum(1 for (of, _user) in self.roles if of == project)
