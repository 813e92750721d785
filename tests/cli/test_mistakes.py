"""Every mistake in `mistakes.toml`: what is printed, the exit code, and never a traceback.

`make test-more` makes all of them by real processes, `make test` those that need a shell, a signal, a terminal or other rights.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from msgspec import Struct

from phimage.cli.exit_codes import EXIT_CODES
from phimage.demo_disk import make_disk, obstacle
from phimage.installation import prepare
from phimage.settings import Settings
from tests.cli.site import Site
from tests.commands import Result
from tests.e2e.process import COMMAND_SECONDS, Phimage, wait_until

DESCRIBED = "--type base --name Disk --os-type Debian --os-name Debian --zone cn-bj2-02 --support DB-2"
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Starts a program of root that obeys the modes of files."""


class Mistake(Struct, frozen=True, rename={"with_": "with"}, forbid_unknown_fields=True):
    """A row of the table, whose head describes the fields."""

    name: str
    command: str
    code: int
    with_: tuple[str, ...] = ("operator",)
    files: dict[str, str] = {}
    modes: dict[str, int] = {}
    before: tuple[str, ...] = ()
    says: str = ""
    out: str = ""
    after: str = ""
    columns: int = 0
    answers: dict[str, str] = {}
    more: str = ""


class Case(Struct):
    """A mistake that is about to be made: where, with which environment, and what names stand for."""

    site: Site
    phimage: Phimage
    names: dict[str, str]
    under: tuple[str, ...] = ()
    revision: int = 0

    def profile(self, user: str, **place: str) -> None:
        """Let a user of the server make it, with a profile."""
        key = self.site.keys[user]
        called = ("--endpoint", self.site.server.url, "--public-key", key.public, "--private-key", key.private)
        options = [word for name, value in place.items() for word in (f"--{name}", value)]
        self.phimage.well("config", "add", user, *called, *options)
        self.names["public"] = key.public

    def filled(self, text: str) -> str:
        """A text with what its names stand for."""
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", value)
        return text


def mistakes() -> list[Mistake]:
    table = tomllib.loads(Path(__file__).with_name("mistakes.toml").read_text("utf-8"))["mistake"]
    return msgspec.convert(table, list[Mistake])


def rows() -> Iterator[Any]:
    """Each mistake, and whether a process makes it."""
    for one in mistakes():
        if needs_process(one):
            yield pytest.param(one, True, id=one.name, marks=[pytest.mark.more] if one.more else [])
        else:
            yield pytest.param(one, False, id=f"{one.name}, here", marks=[pytest.mark.more] if one.more else [])
            yield pytest.param(one, True, id=one.name, marks=[pytest.mark.more])


def needs_process(mistake: Mistake) -> bool:
    """Whether a mistake cannot be made in the test's own process."""
    is_alone = mistake.command.startswith("phimage ") and not set(mistake.command) & set("|&;<>()$`*?\n")
    return not is_alone or bool(mistake.after or mistake.columns) or "unprivileged" in mistake.with_


def nobody(case: Case) -> None:
    """There is no profile."""


def operator(case: Case) -> None:
    case.profile("operator", region="cn-bj2", zone="cn-bj2-02")


def placeless(case: Case) -> None:
    case.profile("operator", region="cn-bj2")


def tenant(case: Case) -> None:
    case.profile("tenant", region="cn-bj2", zone="cn-bj2-02", project="org-default")


def walled(case: Case) -> None:
    case.profile("walled", region="cn-bj2", zone="cn-bj2-02")


def alice(case: Case) -> None:
    case.profile("alice", region="cn-bj2", zone="cn-bj2-02")


def disk(case: Case) -> None:
    (case.phimage.home / "disk.raw").write_bytes(make_disk())


def unprivileged(case: Case) -> None:
    case.under = UNPRIVILEGED if os.geteuid() == 0 else ()


def colorless(case: Case) -> None:
    """As https://no-color.org has it."""
    case.phimage.environment["NO_COLOR"] = "1"


def newer(case: Case) -> None:
    """A data folder that a later version has upgraded."""
    data = case.phimage.home / "data"
    prepare(Settings(data_dir=str(data)))
    with closing(sqlite3.connect(data / "catalog.sqlite")) as database:
        database.executescript("UPDATE alembic_version SET version_num = '9999'; UPDATE head SET oldest = '9999'")


def waiting(case: Case) -> None:
    """A publication that no publisher takes."""
    file = case.phimage.home / "waiting.raw"
    file.write_bytes(make_disk())
    words = ("image", "publish", str(file), *DESCRIBED.split(), "--trust-first-use", "--detach")
    case.names["waiting"] = case.phimage.well(*words).strip()


PREPARATIONS: dict[str, Callable[[Case], None]] = {
    one.__name__: one
    for one in (nobody, operator, placeless, tenant, walled, alice, disk, unprivileged, colorless, newer, waiting)
}


@pytest.mark.parametrize(("mistake", "by_process"), list(rows()))
def test_a_mistake_is_answered_with_what_to_do(mistake: Mistake, by_process: bool, site: Site, tmp_path: Path) -> None:
    if "pimg-os-web7k2ma" in mistake.command and obstacle():
        pytest.skip("the demonstration has no disk here")
    case = Case(site, Phimage(tmp_path), {"zeros": 64 * "0", "described": DESCRIBED, "data": str(site.data)})
    case.names |= {"url": site.server.url, "port": site.server.url.rpartition(":")[2], "closed": site.closed}
    case.names["https"] = site.server.url.replace("http:", "https:")
    for name, text in mistake.files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if mistake.after:
        with site.client() as client:
            case.revision = client.call("ListRevisions", Limit=1).fields["Newest"]
    for name in mistake.with_:
        PREPARATIONS[name](case)
    for name, mode in mistake.modes.items():
        (tmp_path / name).chmod(mode)

    result = _made(mistake, case) if by_process else case.phimage.run(*shlex.split(case.filled(mistake.command))[1:])

    assert "Traceback" not in result.out + result.err, result
    assert result.code == mistake.code, result
    assert_like(result.out, case.filled(mistake.out))
    said = [case.filled(line) for line in (*mistake.before, mistake.says) if line or mistake.before]
    assert_like(result.err, "\n".join(said) + ("\n" if said else ""))


def test_the_table_is_large_and_its_exit_codes_are_documented() -> None:
    table = mistakes()

    assert len(table) >= 45
    assert {mistake.code for mistake in table} <= EXIT_CODES.keys()
    assert len({mistake.name for mistake in table}) == len(table)


def assert_like(text: str, pattern: str) -> None:
    """Assert that a text is a pattern in which … is any text."""
    expression = ".*?".join(map(re.escape, pattern.removesuffix("\n").split("…")))
    if not re.fullmatch(expression, text.removesuffix("\n"), re.DOTALL):
        assert text == pattern


def _made(mistake: Mistake, case: Case) -> Result:
    command = case.filled(mistake.command)
    if mistake.columns:
        words = command.split()
        return case.phimage.in_terminal(*words[1:], columns=mistake.columns, answers=mistake.answers)
    with subprocess.Popen(
        [*case.under, "bash", "-c", f"exec {command}" if mistake.after else command],
        env=case.phimage.environment,
        cwd=case.phimage.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            read = Read()
            if mistake.after:
                read = EVENTS[mistake.after](case, process)
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=COMMAND_SECONDS)
        finally:
            process.kill()
    return Result(process.returncode, read.out + out, read.err + err)


class Read(NamedTuple):
    """What was read of a process until something happened."""

    out: str = ""
    err: str = ""


Process = subprocess.Popen[str]


def _followed(case: Case, process: Process) -> Read:
    """The upload is complete, and the image is followed."""
    server, asked = case.site.server, '"action": "GetPHostImageJob"'
    before = server.errors.count(asked)
    # The test reports a process that has ended with what it has printed.
    wait_until(lambda: server.errors.count(asked) > before or process.poll() is not None, COMMAND_SECONDS)
    with case.site.client() as client:
        rows = client.call("ListRevisions", After=case.revision, Limit=100).fields["RevisionSet"]
        changes = [change for row in rows if row["Action"] == "PublishPHostImage" for change in row["Changes"]]
        case.names["image"] = next((change["Id"] for change in changes if change["Noun"] == "image"), "")
    return Read()


def _connected(_case: Case, process: Process) -> Read:
    """The command has a connection to the server."""

    def has_socket() -> bool:
        with suppress(OSError):  # a file was closed meanwhile, or the process has ended
            return any(str(link.readlink()).startswith("socket:") for link in Path(f"/proc/{process.pid}/fd").iterdir())
        return False

    wait_until(lambda: has_socket() or process.poll() is not None, COMMAND_SECONDS)
    return Read()


def _noted(_case: Case, process: Process) -> Read:
    """It has printed its first line on standard error."""
    assert process.stderr is not None
    return Read(err=process.stderr.readline())


def _listening(_case: Case, process: Process) -> Read:
    """The server listens."""
    assert process.stdout is not None
    out = ""
    while "listening on" not in out:
        line = process.stdout.readline()
        assert line, out
        out += line
    return Read(out=out)


EVENTS: dict[str, Callable[[Case, Process], Read]] = {
    "followed": _followed,
    "connected": _connected,
    "noted": _noted,
    "listening": _listening,
}
