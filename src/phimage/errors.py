"""Every error that phimage raises on purpose, each registered once.

    PhimageError
    ├── RequestError                a request fails: one class for each RetCode, answered at HTTP 200
    ├── SetupError                  the installation or its settings are wrong; told to the operator
    └── ClientError                 a command of the CLI failed
        ├── Unreachable                 no answer from the server, the database or the store
        ├── Locked                      another process holds what is needed
        └── Refused                     the server answered with a RetCode

`Message` has the wording that real clients have seen (wire-protocol 3.2) and nothing else, because programs
compare it; what helps a person goes to `detail`, which the answer carries beside it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar


class PhimageError(Exception):
    """The root. `exit_code` is what the CLI exits with when nothing catches the error."""

    exit_code: ClassVar[int] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled without calling the constructor, whose parameters are not the message."""
        return _unpickled, (type(self), self.args, self.__dict__)


def _unpickled(kind: type[PhimageError], args: tuple[Any, ...], fields: dict[str, Any]) -> PhimageError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class RequestError(PhimageError):
    """A request that cannot be answered. RetCodes stay below 2000: clients repeat larger ones (wire-protocol 1.3)."""

    ret_code: ClassVar[int]
    form: ClassVar[str]
    meaning: ClassVar[str]

    def __init__(self, subject: str = "", *, detail: str = "", fields: Mapping[str, object] | None = None) -> None:
        """`subject` goes into the message; `fields` go beside it into the answer."""
        self.message = self.form.format(subject)
        self.detail = detail
        self.fields = dict(fields or {})
        super().__init__(f"{self.message}: {detail}" if detail else self.message)


class RateLimited(RequestError):
    ret_code = 153
    form = "Request rate limited"
    meaning = "the key sent more requests than its rate allows; wait and send again"


class MissingAction(RequestError):
    ret_code = 160
    form = "Missing Action"
    meaning = "no Action, or a body that cannot be read"


class UnknownAction(RequestError):
    ret_code = 161
    form = "Action [{}] not found"
    meaning = "there is no such Action"


class MissingSignature(RequestError):
    ret_code = 170
    form = "Missing signature"
    meaning = "no PublicKey or no Signature"


class WrongSignature(RequestError):
    ret_code = 171
    form = "Signature VerifyAC Error"
    meaning = "the signature does not fit the parameters and the private key"


class UnknownUser(RequestError):
    ret_code = 172
    form = "User Not Exists"
    meaning = "the PublicKey is unknown or was revoked"


class UnknownToken(RequestError):
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
    ret_code = 240
    form = "Params [{}] too large"
    meaning = "a parameter, a list or the whole request is over its limit"


class QuotaExceeded(RequestError):
    ret_code = 241
    form = "Quota of [{}] exceeded"
    meaning = "the project's images would have more bytes than its quota allows"


class UnknownProject(RequestError):
    ret_code = 292
    form = "Project [{}] not exists"
    meaning = "the account has no such project"


class ZoneRefused(RequestError):
    ret_code = 293
    form = "Zone [{}] not permitted"
    meaning = "the account may not use the zone"


class AddressRefused(RequestError):
    ret_code = 294
    form = "IP not permitted"
    meaning = "the account may not be used from the caller's address"


class NotPermitted(RequestError):
    ret_code = 299
    form = "IAM permission check failed"
    meaning = "the user lacks the role, or a sub-user did not name a project"


class ServiceUnavailable(RequestError):
    exit_code = 69
    ret_code = 150
    form = "Service unavailable"
    meaning = "phimage cannot answer now, for example because its database is away; nothing was changed"


class SetupError(PhimageError):
    """The installation, its settings or its files are wrong. The text says what to do."""

    exit_code = 78


class ClientError(PhimageError):
    """A command failed. The text says what to do."""


class Unreachable(ClientError):
    """No answer came from the server, the database or the store."""

    exit_code = 69


class Locked(ClientError):
    """Another process holds what the command needs; the same command may work later."""

    exit_code = 75


class Refused(ClientError):
    """The server answered with a RetCode other than 0."""

    def __init__(self, ret_code: int, message: str, detail: str, request_id: str, answer: dict[str, object]) -> None:
        self.ret_code = ret_code
        self.message = message
        self.detail = detail
        self.request_id = request_id
        self.answer = answer
        super().__init__(f"RetCode {ret_code}: {message}" + (f" ({detail})" if detail else ""))


class NotCached(Exception):
    """Not an error: what was asked needs the database, and the asker said that it cannot wait.

    Where there is `fetch`, await it and ask again: True says that the next try has what this one lacked. Otherwise ask again
    where it can wait.
    """

    def __init__(self, fetch: Callable[[], Awaitable[bool]] | None = None) -> None:
        self.fetch = fetch


class LongPoll(Exception):
    """Not an error: there is nothing to tell yet, and the caller is ready to wait for the next revision."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(seconds)


REQUEST_ERRORS = tuple(sorted(RequestError.__subclasses__(), key=lambda error: error.ret_code))
"""Every kind of RequestError, by RetCode."""
