"""The units: rated by systemd, with the same walls and valid commands, and the files that make their user and folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from phimage.cli import phimage
from tests.deploy.unit import BACKUPS, DATA, DEPLOY, PROGRAM, SERVICES, TIMERS, Unit

MAX_EXPOSURE = 2.0
RUN = ("ExecStart", "ExecReload", "Type", "After", "Wants", "Description", "Environment", "EnvironmentFile", "WantedBy")
OF_ONE = ("RestrictNamespaces", "SystemCallFilter", "ReadWritePaths")
"""What differs between units: their programs, and what these need."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed; on Debian: apt-get install systemd"
)


def run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


# docs/decisions.md#the-publisher-has-a-unit-of-its-own
@needs_systemd
@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.stem)
def test_systemd_rates_a_unit_as_safe(service: Path) -> None:
    threshold = f"--threshold={int(MAX_EXPOSURE * 10)}"
    run("systemd-analyze", "security", "--no-pager", "--offline=yes", threshold, str(service))


@needs_systemd
def test_systemd_finds_no_mistake_in_the_units(tmp_path: Path) -> None:
    for path in (*SERVICES, *TIMERS):
        (tmp_path / path.name).write_text(path.read_text("utf-8").replace(f"{PROGRAM}/bin/phimage", sys.executable))
    said = run("systemd-analyze", "verify", "--man=no", *(str(tmp_path / path.name) for path in (*SERVICES, *TIMERS)))
    assert not [line for line in said.splitlines() if "phimage" in line], said


def test_all_units_have_the_same_walls() -> None:
    walls = {path.name: _walls(Unit(path)) for path in SERVICES}

    assert len(walls["phimage.service"]) > 25
    assert {name: found for name, found in walls.items() if found != walls["phimage.service"]} == {}


def _walls(unit: Unit) -> dict[str, list[str]]:
    keys = list(unit.settings)
    return {key: unit.settings[key] for key in keys[keys.index("User") :] if key not in (*RUN, *OF_ONE)}


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.stem)
def test_a_unit_starts_a_command_that_there_is(service: Path) -> None:
    program, *arguments = Unit(service).command
    result = CliRunner().invoke(phimage, [*arguments, "--help"])

    assert program == f"{PROGRAM}/bin/phimage"
    assert result.exit_code == 0, result.output


@needs_systemd
@pytest.mark.parametrize("timer", TIMERS, ids=lambda path: path.stem)
def test_a_timer_starts_a_unit_that_there_is_and_makes_up_for_missed_times(timer: Path) -> None:
    unit = Unit(timer)

    assert Unit(timer.with_suffix(".service")).one("Type") == "oneshot"
    assert unit.one("Persistent") == "true"
    run("systemd-analyze", "calendar", unit.one("OnCalendar"))


@needs_systemd
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users")
def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}", str(DEPLOY / "sysusers.d/phimage.conf"))
    run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(DEPLOY / "tmpfiles.d/phimage.conf"))

    [line] = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("phimage:")]
    number = int(line.split(":")[2])
    for place, owner, mode in ((DATA, number, 0o700), (BACKUPS, number, 0o700), ("/etc/phimage", 0, 0o750)):
        status = (tmp_path / place.lstrip("/")).stat()
        assert (status.st_uid, status.st_mode & 0o7777) == (owner, mode), place
