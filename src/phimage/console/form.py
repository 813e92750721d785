"""The form of a change: its fields, and the checks that one of the session's own pages sent it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from msgspec import Struct

from phimage.console.browser_origin import BrowserOrigin, is_same_token
from phimage.console.session import ConsoleSession
from phimage.http.body import BodyTooLong, BodyTooSlow, RequestBody

MAX_FORM = 64 * 1024
MAX_FIELDS = 2000
"""A matrix of machine types and clusters has a field for each cell."""
TOKEN = "_token"  # noqa: S105  the name of a field
"""The field that has the token of the session. Fields that are no parameters of Actions begin with an underscore."""


TOKEN_FIELD = "x-phimage-token"  # noqa: S105  the name of a field
"""The header field that has the token of a request whose body is no form."""


class PageError(Exception):
    """Ends a request with a page that explains it: the texts `errors.KIND` and `errors.KIND_help`."""

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind


class Form(Struct, frozen=True):
    """The fields of a form. A field may have several values, such as those of ticked boxes."""

    values: Mapping[str, tuple[str, ...]] = {}

    def get(self, name: str) -> str:
        """The last value of a field; empty without one."""
        return self.all(name)[-1] if self.all(name) else ""

    def all(self, name: str) -> tuple[str, ...]:
        """All values of a field."""
        return self.values.get(name, ())

    def rest(self, *names: str) -> list[tuple[str, str]]:
        """All fields but these and the token, for the hidden fields of the next form."""
        left_out = (TOKEN, *names)
        return [(name, value) for name, values in self.values.items() if name not in left_out for value in values]


NO_FORM = Form()


def read_form(fields: Mapping[str, str], body: bytes) -> Form:
    """The form in a body. Raises PageError for another content type than that of forms."""
    if fields.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise PageError(415, "form")
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise PageError(400, "form") from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return Form({name: tuple(several) for name, several in values.items()})


async def read_body(body: RequestBody, max_size: int) -> bytes:
    """The body of a request. Raises PageError and ClientGone."""
    try:
        return await body.read(max_size)
    except (BodyTooLong, BodyTooSlow):
        raise PageError(413, "form") from None


def check_own_request(origin: BrowserOrigin, fields: Mapping[str, str]) -> None:
    """Raises PageError for a request that no page of this origin sent."""
    if not origin.is_own_request(fields):
        raise PageError(403, "foreign")


def check_token(session: ConsoleSession, token: str) -> None:
    """Raises PageError for another token than that of the session."""
    if not is_same_token(session.token, token):
        raise PageError(403, "token")
