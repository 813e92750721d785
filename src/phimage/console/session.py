"""Sessions of the console as its pages see them. Where they are kept is the matter of an implementation of `Sessions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from phimage.model.ids import AccountId, PublicKey


class Session(Struct, frozen=True):
    """A person who is signed in, bound to one access key.

    `token` is the session's secret against forged requests, which every form repeats.
    """

    key: PublicKey
    account: AccountId
    user: str
    is_operator: bool
    token: str


class Sessions(Protocol):
    """Finds sessions by the cookies of a request."""

    async def find(self, cookies: Mapping[str, str]) -> Session | None:
        """The session of a request; None without one, or when it or its key ended."""
        ...


class NoSessions:
    """Nobody is ever signed in: the console then shows its sign-in page alone."""

    async def find(self, cookies: Mapping[str, str]) -> Session | None:
        """No session."""
        return None
