"""The report of an error: lines for people, or one JSON object for programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import StringIO
from itertools import pairwise
from typing import Annotated, Any

import click
import msgspec
from msgspec import Meta, Struct

from phimage.chunks.errors import StoreFailure
from phimage.cli.output import echo, print_json
from phimage.errors import (
    ClientError,
    MissingParam,
    Refused,
    ServiceUnavailable,
    UnavailableParam,
    UnknownAction,
    UnknownProject,
    UnknownUser,
    WrongSignature,
    ZoneRefused,
)

_OPTION_OF = {"Region": "region", "Zone": "zone", "ProjectId": "project"}
"""Parameters that a profile may supply, with the name of the option."""
_PARAMETER = re.compile(r"\[([\w.]+)\]")
_UNKNOWN = re.compile(r"^(there is no|there was never|account \S+ has no)\b(?!.*(;|did you mean))|^(?!.*;).* and \d+ more$")
_MACHINES = "`phimage machine-type ls` lists the machine types and their clusters"
_LISTED_BY = {
    "Region": "`phimage region ls` lists the regions",
    "Zone": "`phimage zone ls` lists the zones",
    "Support": _MACHINES,
    "MachineType": _MACHINES,
    "Cluster": "`phimage cluster ls` lists the clusters",
    "ImageId": "`phimage image ls --all-zones` lists the images",
    "JobId": "`phimage job ls --all` lists the publications",
    "Account": "`phimage account ls` lists the accounts",
    "User": "`phimage user ls --account ...` lists the users",
    "ProjectId": "`phimage project ls --account ...` lists the projects",
    "Project": "`phimage project ls --account ...` lists the projects",
    "AccessKey": "`phimage key ls --account ...` lists the keys",
}
"""Where the values of a parameter are found, for a value that is unknown."""

_REMEDIES = {
    UnknownAction.ret_code: "`phimage api` lists the Actions",
    WrongSignature.ret_code: "the private key is not that of the public key: compare both with `phimage config ls`",
    UnknownUser.ret_code: "this server has no such key: `phimage config ls` shows which key goes to which server",
    UnknownProject.ret_code: "`phimage api GetProjectList` lists the projects of this key",
    ZoneRefused.ret_code: "`phimage zone ls` lists the zones of this account",
}
"""What to do about refusals that the server does not explain, and about those of _ALWAYS."""
_ALWAYS = (ZoneRefused.ret_code,)


_STORE_REMEDIES: dict[str, str] = {
    "no space": "make room in the store and run the same command again",
    "input/output error": "check the disk of the store",
    "not permitted": "check the owner and modes of the store, or its keys in AWS_* variables",
    "refused": "check the address of the store and its keys in AWS_* variables",
    "unreachable": "check that the store runs and can be reached",
    "busy": "run the same command again when the other process has ended",
}


class FileErrorEntry(Struct, frozen=True, rename="pascal"):
    """One error in a catalogue file."""

    line: Annotated[int, Meta(description="the line in the file, from 1")]
    column: Annotated[int, Meta(description="the column in the line, from 1")]
    field: Annotated[str, Meta(description="the field; empty for an error of the YAML itself")]
    message: Annotated[str, Meta(description="what is wrong, and what is expected")]


class ErrorReport(Struct, frozen=True, rename="pascal"):
    """The JSON of an error: one object, on one line, the last of standard error. Standard output stays empty.

    Lines before it are notes, for example about a wait.
    """

    exit_code: Annotated[int, Meta(description="the exit code")]
    message: Annotated[
        str, Meta(description="what is wrong; of a refusal by the server its Message, otherwise with the remedy")
    ]
    usage: Annotated[str, Meta(description="how the command is written, if it was written wrongly; otherwise empty")] = ""
    ret_code: Annotated[int, Meta(description="the server's RetCode, if it refused the request; otherwise 0")] = 0
    detail: Annotated[str, Meta(description="the reason and the remedy of a refusal; otherwise empty")] = ""
    request_id: Annotated[str, Meta(description="the id of a refused request; otherwise empty")] = ""
    errors: Annotated[tuple[FileErrorEntry, ...], Meta(description="the errors of a catalogue file")] = ()


class FileErrors(ClientError):
    """A catalogue file has errors."""

    def __init__(self, name: str, entries: Sequence[Mapping[str, Any]]) -> None:
        self.name = name
        self.entries = tuple(msgspec.convert(entry, FileErrorEntry) for entry in entries)
        count = "1 error" if len(entries) == 1 else f"{len(entries)} errors"
        super().__init__(f"{count} in {name}; nothing was changed")

    def lines(self) -> list[str]:
        """The errors as compilers print them."""
        return [f"{self.name}:{one.line}:{one.column}: {one.field and f'{one.field}: '}{one.message}" for one in self.entries]


# docs/decisions.md#the-words-of-a-command-decide-the-form-of-its-error
def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line has --json or -o json.

    A usage error ends the parse, perhaps before this option, so the words decide.
    """
    words = list(arguments)
    words = words[: words.index("--")] if "--" in words else words
    outputs = (value for option, value in pairwise(words) if option in ("-o", "--output"))
    return not {"--json", "--output=json", "-ojson"}.isdisjoint(words) or "json" in outputs


def report_of(error: BaseException, code: int) -> ErrorReport:
    """The report of an error that ends a command with an exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return ErrorReport(code, _no_command(error.ctx), usage=_usage(error.ctx))
    if isinstance(error, click.UsageError):
        return ErrorReport(code, _one_line(error), usage=_usage(error.ctx))
    if isinstance(error, click.ClickException):
        return ErrorReport(code, _one_line(error))
    if isinstance(error, Refused):
        return ErrorReport(code, error.message, ret_code=error.ret_code, detail=_detail(error), request_id=error.request_id)
    if isinstance(error, FileErrors):
        return ErrorReport(code, str(error), errors=error.entries)
    if isinstance(error, StoreFailure):
        remedy = _STORE_REMEDIES.get(error.reason, "")
        return ErrorReport(code, f"{error}; {remedy}" if remedy and ";" not in error.detail else str(error))
    if isinstance(error, ServiceUnavailable):
        return ErrorReport(code, f"{error.detail}{_cause(error)}")
    return ErrorReport(code, str(error))


def _usage(ctx: click.Context | None) -> str:
    return ctx.get_usage().partition(": ")[2] if ctx else ""


def _no_command(ctx: click.Context) -> str:
    return f"Missing command. `{ctx.command_path} --help` lists the commands."


def _one_line(error: click.ClickException) -> str:
    """The message of click, which has the choices of an option on lines of their own."""
    return " ".join(error.format_message().split())


def print_error(error: BaseException, report: ErrorReport, *, as_json: bool) -> None:
    """Print an error on standard error, which may be closed."""
    with suppress(OSError):
        if as_json:
            print_json(report, indented=False, err=True)
        else:
            echo(_text(error, report), err=True)


def _text(error: BaseException, report: ErrorReport) -> str:
    """The lines for people."""
    if isinstance(error, click.ClickException):
        shown = StringIO()
        error.show(shown)
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            return shown.getvalue().rstrip()
        return f"{shown.getvalue().partition('Error: ')[0]}Error: {report.message}"
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return report.message
    if isinstance(error, Refused):
        detail = f" ({report.detail})" if report.detail else ""
        return f"phimage: RetCode {error.ret_code}: {error.message}{detail}"
    lines = error.lines() if isinstance(error, FileErrors) else []
    return "\n".join([*lines, f"phimage: {report.message}"])


def _detail(error: Refused) -> str:
    """The server's reason, with what to do about it where that is a command of this program."""
    return "; ".join(filter(None, (error.detail, _remedy(error))))


def _remedy(error: Refused) -> str:
    match = _PARAMETER.search(error.message)
    parameter = match[1].partition(".")[0] if match else ""
    if error.ret_code == MissingParam.ret_code and parameter in _OPTION_OF and not error.detail:
        option = _OPTION_OF[parameter]
        return f"give --{option}, or keep it in the profile: phimage config add NAME --{option} ..."
    if error.ret_code == UnavailableParam.ret_code and _UNKNOWN.search(error.detail):
        return _LISTED_BY.get(parameter, "")
    if error.detail and error.ret_code not in _ALWAYS:
        return ""
    return _REMEDIES.get(error.ret_code, "")


def _cause(error: ServiceUnavailable) -> str:
    """The first line of the database driver's message. Only commands print it; clients of a server get `detail` alone."""
    cause = getattr(error.__cause__, "orig", error.__cause__)
    text = str(cause or "").strip().partition("\n")[0]
    return f": {text}" if text else ""
