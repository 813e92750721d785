"""Sessions of the console as its pages see them. Where they are kept is the matter of an implementation of `Sessions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from phimage.console.browser_origin import BrowserOrigin
from phimage.model.ids import AccountId, ProjectId, PublicKey
from phimage.model.image import NO_PROJECT


class ConsoleSession(Struct, frozen=True):
    """A person who is signed in, bound to one access key.

    `may_change`: it may change the images of at least one project. `token` is what every form of the session repeats, against
    forged requests. `project` is the first one of a sub-user, who must name a project in every request; empty for others.
    """

    key: PublicKey
    account: AccountId
    user: str
    is_operator: bool
    token: str
    may_change: bool = True
    project: ProjectId = NO_PROJECT


class Sessions(Protocol):
    """Finds sessions by the cookies of a request."""

    async def find(self, cookies: Mapping[str, str], origin: BrowserOrigin) -> ConsoleSession | None:
        """The session of a request; None without one, or when it or its key ended. Raises ServiceUnavailable."""
        ...
