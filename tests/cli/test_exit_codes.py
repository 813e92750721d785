"""Every exit code of the program is documented, and every error under --json is one JSON object."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import phimage
from phimage.chunks.errors import StoreFailure
from phimage.cli import exit_codes
from phimage.cli.error_report import ErrorReport, asks_for_json
from phimage.cli.exit_codes import EXIT_CODES, run_to_exit_code
from phimage.errors import ClientError, PhimageError, Refused, ServiceUnavailable, SetupError, Unreachable

SOURCE = Path(phimage.__file__).parent
NOT_OF_COMMANDS = {"sandbox_child.py", "runtime.py", "workers.py"}
"""Files whose exit codes are those of child processes, which their parents read."""
REFUSAL = Refused(230, "Params [Zone] not available", "region cn-bj2 has cn-bj2-02", "some-id", {})
FIELDS = set(ErrorReport.__struct_encode_fields__)


def errors(kind: type[PhimageError] = PhimageError) -> Iterator[type[PhimageError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from errors(below)


def numbers(file: Path) -> Iterator[int]:
    """The numbers that a file exits with or assigns to `exit_code` or a constant."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(attr="exit"), args=[ast.Constant(value=int(number))]):
                yield number
            case ast.AnnAssign(target=ast.Name(id="exit_code"), value=ast.Constant(value=int(number))):
                yield number
            case ast.Assign(targets=[ast.Name(id="exit_code")], value=ast.Constant(value=int(number))):
                yield number


def test_every_exit_code_has_a_meaning() -> None:
    for module in pkgutil.walk_packages(phimage.__path__, "phimage."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)

    used = {kind.exit_code for kind in errors()}
    written = {number for file in SOURCE.rglob("*.py") if file.name not in NOT_OF_COMMANDS for number in numbers(file)}
    constants = {exit_codes.FAILED, exit_codes.FINDINGS, exit_codes.DIFFERENCES, exit_codes.USAGE, exit_codes.INTERRUPTED}

    assert used | written | constants | {0} == EXIT_CODES.keys()
    assert 75 in used


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (click.UsageError("give one"), 64, "give one"),
        (click.ClickException("no"), 1, "no"),
        (click.Abort(), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ServiceUnavailable(detail="the database is away"), 69, "the database is away"),
        (Unreachable("no answer"), 69, "no answer"),
        (SetupError("no folder"), 78, "no folder"),
        (ClientError("a\u202eb"), 1, "a\u202eb"),
        (StoreFailure("lock", "gc", "busy"), 75, "lock gc: busy"),
        (FileNotFoundError(2, "No such file or directory", "disk.raw"), 1, "disk.raw: No such file or directory"),
        (REFUSAL, 1, "Params [Zone] not available"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_under_json_is_one_object_on_standard_error(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert run_to_exit_code(fail, ["image", "ls", "--json"]) == code

    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n"), "\u202e" in shown.err) == ("", 1, False)
    report = json.loads(shown.err)
    assert report.keys() == FIELDS
    assert (report["ExitCode"], message in report["Message"]) == (code, True)
    refusal = (230, "region cn-bj2 has cn-bj2-02", "some-id") if error is REFUSAL else (0, "", "")
    assert (report["RetCode"], report["Detail"], report["RequestId"]) == refusal


def test_a_missing_command_is_answered_with_the_help_once(capsys: pytest.CaptureFixture[str]) -> None:
    @click.group()
    def rack() -> None:
        """Machines."""

    def call() -> object:
        return rack.main([], prog_name="rack", standalone_mode=False)

    assert run_to_exit_code(call) == 64
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("Usage:"), shown.err.count("Machines."), "Error" in shown.err) == ("", 1, 1, False)
    assert run_to_exit_code(call, ["--json"]) == 64
    report = json.loads(capsys.readouterr().err)
    assert report["Message"] == "Missing command. `rack --help` lists the commands."
    assert report["Usage"] == "rack [OPTIONS] COMMAND [ARGS]..."


def test_words_after_two_dashes_are_no_options() -> None:
    assert asks_for_json(["image", "show", "--json", "x"])
    assert not asks_for_json(["image", "show", "--", "--json"])
    assert not asks_for_json([])
    assert asks_for_json(["image", "ls", "-o", "json"])
    assert asks_for_json(["image", "ls", "--output=json"])
    assert asks_for_json(["image", "ls", "-ojson"])
    assert not asks_for_json(["image", "ls", "-o", "table", "--zone", "json"])


def test_a_command_that_exits_by_itself_returns_to_its_caller_too() -> None:
    """`exit_process` ends the process without the handlers in which threads of the S3 client crash."""
    assert run_to_exit_code(lambda: sys.exit(exit_codes.FINDINGS)) == exit_codes.FINDINGS
    assert run_to_exit_code(lambda: sys.exit(0)) == 0


def test_a_reader_that_has_enough_is_no_error_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    assert run_to_exit_code(fail, ["--json"]) == 1
    assert capsys.readouterr().err == ""


def test_an_interrupt_while_the_commands_are_imported_has_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")  # found before the package of this name

    done = subprocess.run(
        [sys.executable, "-m", "phimage", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
