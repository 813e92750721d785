"""All errors that phimage raises deliberately.

    PhimageError
    ├── RequestError                a request fails: one class for each RetCode, answered at HTTP 200
    ├── SetupError                  the installation or its settings are wrong; the operator gets it
    ├── WorkersDied                 processes of a server died one after the other, so the server ended
    └── ClientError                 a command of the CLI failed
        ├── Unreachable                 the server, the database or the store does not answer
        ├── Locked                      another process holds a lock
        └── Refused                     the server answered with a RetCode

`Message` has exactly the wording that clients know (wire-protocol 3.2), because programs compare it. `detail` is for people;
the response carries it beside the message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar


class PhimageError(Exception):
    """The root. When nothing catches the error, the CLI exits with `exit_code`, and a path with real statuses responds with
    `http_status`."""

    exit_code: ClassVar[int] = 1
    # docs/decisions.md#an-error-class-carries-its-status-and-public-fields
    http_status: int = 500

    def public_fields(self) -> Mapping[str, object]:
        """The JSON fields of a response with `http_status`; empty for an error that no client may see."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the constructor, whose parameters are not the message."""
        return _unpickled, (type(self), self.args, self.__dict__)


def _unpickled(kind: type[PhimageError], args: tuple[Any, ...], fields: dict[str, Any]) -> PhimageError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class RequestError(PhimageError):
    """A request that cannot be answered. RetCodes are below 2000: clients retry larger ones (wire-protocol 1.3)."""

    http_status = 400
    ret_code: ClassVar[int]
    form: ClassVar[str]
    meaning: ClassVar[str]

    def __init__(
        self,
        subject: str = "",
        *,
        detail: str = "",
        fields: Mapping[str, object] | None = None,
        http_status: int | None = None,
    ) -> None:
        """`subject` becomes part of the message; `fields` become fields of the response, `http_status` its status."""
        self.message = self.form.format(subject)
        self.detail = detail
        self.fields = dict(fields or {})
        if http_status is not None:
            self.http_status = http_status
        super().__init__(f"{self.message}: {detail}" if detail else self.message)

    def public_fields(self) -> Mapping[str, object]:
        """Message, detail and the given fields."""
        return {"Message": self.message, "Detail": self.detail, **self.fields}


class RateLimited(RequestError):
    http_status = 429
    ret_code = 153
    form = "Request rate limited"
    meaning = "the key sent more requests than its rate allows, or the address too many wrong signatures; wait and send again"


class MissingAction(RequestError):
    http_status = 401
    ret_code = 160
    form = "Missing Action"
    meaning = "no Action, or a body that cannot be read"


class UnknownAction(RequestError):
    ret_code = 161
    form = "Action [{}] not found"
    meaning = "there is no such Action"


class MissingSignature(RequestError):
    http_status = 401
    ret_code = 170
    form = "Missing signature"
    meaning = "no PublicKey or no Signature"


class WrongSignature(RequestError):
    http_status = 401
    ret_code = 171
    form = "Signature VerifyAC Error"
    meaning = "the signature does not fit the request and the private key, or was made too long ago"


class UnknownUser(RequestError):
    http_status = 401
    ret_code = 172
    form = "User Not Exists"
    meaning = "the public key is unknown, was revoked or has expired"


class UnknownToken(RequestError):
    http_status = 401
    ret_code = 174
    form = "Token Not Exists"
    meaning = "SecurityToken is not known: phimage has no temporary keys"


class MissingParam(RequestError):
    ret_code = 220
    form = "Missing params [{}]"
    meaning = "a parameter that the Action needs is absent or blank"


class UnavailableParam(RequestError):
    ret_code = 230
    form = "Params [{}] not available"
    meaning = "a parameter has a value that cannot be used here"


class TooLargeParam(RequestError):
    http_status = 413
    ret_code = 240
    form = "Params [{}] too large"
    meaning = "a parameter, a list or the whole request is over its limit"


# docs/decisions.md#a-full-quota-is-241
class QuotaExceeded(RequestError):
    ret_code = 241
    form = "Quota of [{}] exceeded"
    meaning = "the project's images would have more bytes than its quota allows"


class OrderLost(RequestError):
    http_status = 409
    ret_code = 242
    form = "Order [{}] lost"
    meaning = "the order of a host's agent has ended or was given out again: the agent stops and asks for its orders"


# docs/decisions.md#unknown-projects-and-missing-roles
class UnknownProject(RequestError):
    http_status = 404
    ret_code = 292
    form = "Project [{}] not exists"
    meaning = "the account has no such project"


class ZoneRefused(RequestError):
    http_status = 403
    ret_code = 293
    form = "Zone [{}] not permitted"
    meaning = "the account may not use the zone"


class AddressRefused(RequestError):
    http_status = 403
    ret_code = 294
    form = "IP not permitted"
    meaning = "the account may not be used from the caller's address"


class NotPermitted(RequestError):
    http_status = 403
    ret_code = 299
    form = "IAM permission check failed"
    meaning = (
        "the user lacks the role, a parameter is for operators, a sub-user did not name a project, or the Action needs "
        "signature version 2"
    )


class ServiceUnavailable(RequestError):
    exit_code = 69
    http_status = 503
    ret_code = 150
    form = "Service unavailable"
    meaning = "phimage cannot answer now, for example because its database is away; nothing was changed"


class SetupError(PhimageError):
    """The installation, its settings or its files are wrong. The text has a remedy."""

    exit_code = 78


class WorkersDied(PhimageError):
    """Server processes died one after the other, so the server ended."""

    exit_code = 70


class ClientError(PhimageError):
    """A command failed. The text has a remedy."""


class Unreachable(ClientError):
    """The server, the database or the store does not answer."""

    exit_code = 69


class Locked(ClientError):
    """Another process holds a lock that the command needs; the same command may work later."""

    exit_code = 75


class Refused(ClientError):
    """The server refused a request: its RetCode is not 0."""

    def __init__(self, ret_code: int, message: str, detail: str, request_id: str, answer: dict[str, object]) -> None:
        self.ret_code = ret_code
        self.message = message
        self.detail = detail
        self.request_id = request_id
        self.answer = answer
        super().__init__(f"RetCode {ret_code}: {message}" + (f" ({detail})" if detail else ""))


# docs/decisions.md#one-code-path-for-cached-and-uncached-requests
class NotCached(Exception):
    """Not an error: a value is not cached, and the caller must not block.

    If there is a `fetch`, await it: True means that the value is cached now, so the caller can retry. Otherwise the caller
    retries in a thread, where it may block.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bool]] | None = None) -> None:
        self.fetch = fetch


class LongPoll(Exception):
    """Not an error: the response has no news, and the request may wait for the next revision, up to `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(seconds)


REQUEST_ERRORS = tuple(sorted(RequestError.__subclasses__(), key=lambda error: error.ret_code))
"""Every kind of RequestError, by RetCode."""
