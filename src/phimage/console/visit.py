"""A visit: one request of a person for a page, and the Actions that the page calls on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from phimage.actions.changed_fields import DryRunResponse
from phimage.console.address import Address
from phimage.console.form import NO_FORM, Form
from phimage.console.nonces import Nonces
from phimage.console.session import ConsoleSession
from phimage.console.texts import Texts
from phimage.errors import WrongSignature
from phimage.gateway.access import SessionCredential
from phimage.gateway.dispatch import RawRequest
from phimage.gateway.envelope import RawResponse

PROGRAM = "console"
"""The name of the console in the log of revisions."""

Answer = TypeVar("Answer", bound=Struct)
Enter = Callable[[RawRequest], Awaitable[tuple[RawResponse, float | None]]]
"""Answers a request of a session like one of the network, with the age of what it knows if that is old."""


class _Failure(Struct, rename="pascal"):
    """The fields of a response to a failed request."""

    ret_code: int
    message: str
    detail: str = ""


class ActionRefused(Exception):
    """An Action that was answered with another RetCode than 0."""

    def __init__(self, action: str, ret_code: int, message: str, detail: str, request_id: str) -> None:
        super().__init__(message)
        self.action = action
        self.ret_code = ret_code
        self.message = message
        self.detail = detail
        self.request_id = request_id


class PageContent(Struct, frozen=True):
    """What a page shows: a template with its values, or with `location` another address where the browser goes on.

    `json` is the answer to a script in place of a page. `fields` are further header fields.
    """

    template: str = ""
    values: Mapping[str, Any] = {}
    status: int = 200
    location: str = ""
    json: Mapping[str, object] | None = None
    fields: Mapping[str, str] = {}


class Visit:
    """One request of a person for a page."""

    def __init__(
        self,
        session: ConsoleSession,
        address: Address,
        text: Texts,
        enter: Enter,
        *,
        client_address: str,
        base_url: Callable[[], str],
        new_request_id: Callable[[], str],
        now: float,
        nonces: Nonces,
        form: Form = NO_FORM,
        content: bytes = b"",
        health: Callable[[], Mapping[str, str]] = dict,
        max_limit: int = 1000,
        travels: bool = True,
    ) -> None:
        """`client_address` is the network address of the person; `now` is Unix seconds; `form` has the fields of a POST.

        `content` is the body of a POST that is no form. `nonces` are those of forms, so that none is carried out twice.
        `health` returns why the database or the store is away, by name; empty if it is there.
        `max_limit` is the largest Limit of lists of images. `travels`: see `Route`.
        """
        self.session = session
        self.address = address
        self.text = text
        self.now = now
        self.form = form
        self.content = content
        self.nonces = nonces
        self.base_url = base_url
        self.health = health
        self.max_limit = max_limit
        self.revision: int | None = None
        self.age: float | None = None
        self._enter = enter
        # docs/decisions.md#a-page-without-a-past-says-so
        self._pin = address.pin if travels else "/"
        self._client_address = client_address
        self._new_request_id = new_request_id

    async def ask(self, action: type[Struct], answer: type[Answer], **params: object) -> Answer:
        """The response of an Action of the catalogue that the page shows, if it travels. Raises ActionRefused.

        Parameters that are None or empty are left out; ProjectId is that of the address unless it is given.
        """
        given = {"ProjectId": self.address.get("ProjectId"), **params}
        return await self._call(self._pin, action, answer, {name: value for name, value in given.items() if value != ""})

    async def change(self, action: type[Struct], answer: type[Answer], **params: object) -> Answer:
        """The response of an Action of the present catalogue, such as one that changes it. Raises ActionRefused.

        Parameters that are None are left out.
        """
        return await self._call("/", action, answer, params)

    async def try_out(self, action: type[Struct], **params: object) -> DryRunResponse:
        """What a changing Action would change: it is carried out and undone. Raises ActionRefused."""
        return await self._call("/", action, DryRunResponse, params, dry_run=True)

    def check_nonce(self, nonce: str, action: type[Struct]) -> str:
        """What is recorded when a nonce of `nonces` is used. Raises ActionRefused when it is too old, or of others."""
        try:
            return self.nonces.read(nonce)
        except WrongSignature as error:
            raise ActionRefused(action.__name__, error.ret_code, error.message, error.detail, "") from None

    async def change_once(self, nonce: str, action: type[Struct], answer: type[Answer], **params: object) -> Answer:
        """The same as `change`, once for a nonce of `nonces`. Raises ActionRefused when it was used before, or is too old."""
        return await self._call("/", action, answer, params, nonce=self.check_nonce(nonce, action))

    async def _call(
        self,
        path: str,
        action: type[Struct],
        answer: type[Answer],
        params: Mapping[str, object],
        *,
        nonce: str = "",
        dry_run: bool = False,
    ) -> Answer:
        request_id = self._new_request_id()
        given = {name: value for name, value in params.items() if value is not None}
        response, age = await self._enter(
            RawRequest(
                method="POST",
                path=path,
                query="",
                content_type="application/json",
                body=msgspec.json.encode({"Action": action.__name__, **given}),
                address=self._client_address,
                request_id=request_id,
                base_url=self.base_url,
                session=SessionCredential(self.session.key, PROGRAM, nonce),
                dry_run=dry_run,
            )
        )
        if response.ret_code:
            failure = msgspec.json.decode(response.body, type=_Failure)
            raise ActionRefused(action.__name__, failure.ret_code, failure.message, failure.detail, request_id)
        if age is not None:
            self.age = age
        if response.revision is not None:
            self.revision = response.revision
        return msgspec.json.decode(response.body, type=answer)
