"""The page about `deploy/`: what it installs, and the files that it names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.unit import DEPLOY, ROOT, SERVICES, TIMERS

PAGE = (ROOT / "docs/how-to/deploy.md").read_text("utf-8")
NEEDED = ("bwrap", "systemd-analyze")
FOLDERS = ("/etc/systemd/system", "/etc/sysusers.d", "/etc/tmpfiles.d")
SYSTEMCTL = '#!/bin/sh\necho "$@" >> /log/systemctl\n'


def test_the_page_names_every_file() -> None:
    table = PAGE.partition("\n## ")[0]
    names = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}

    assert {
        name for name in names if name.removeprefix("phimage").partition(".")[0] not in table and name not in table
    } == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users")
@pytest.mark.skipif(
    any(shutil.which(name) is None for name in NEEDED),
    reason="bwrap or systemd is not installed; on Debian: apt-get install bubblewrap systemd",
)
def test_the_commands_install_the_units_the_user_and_the_folders(tmp_path: Path) -> None:
    """In a copy of /etc and with a systemctl that only notes what it is called with."""
    block = next(text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "systemd-sysusers" in text)
    for name in ("var", "log", "bin"):
        (tmp_path / name).mkdir()
    shutil.copytree("/etc", tmp_path / "etc", symlinks=True, ignore=shutil.ignore_patterns("ssl", "alternatives", "apt"))
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL)
    (tmp_path / "bin/systemctl").chmod(0o755)
    places = ["--bind", str(tmp_path / "etc"), "/etc", "--bind", str(tmp_path / "var"), "/var"]
    places += ["--bind", str(tmp_path / "log"), "/log", "--ro-bind", str(ROOT), str(ROOT), "--chdir", str(ROOT)]
    system = [word for name in ("usr", "bin", "sbin", "lib", "lib64") for word in ("--ro-bind-try", f"/{name}", f"/{name}")]
    isolated = ["bwrap", "--cap-add", "ALL", *system, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", "--tmpfs", "/tmp"]
    shell = [*isolated, *places, "--ro-bind", str(tmp_path / "bin"), "/stub", "bash", "-euc", block]
    ended = subprocess.run(
        shell, env={"PATH": "/stub:/usr/bin:/usr/sbin:/bin:/sbin"}, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    for path in (*SERVICES, *TIMERS):
        assert (tmp_path / "etc/systemd/system" / path.name).read_text() == path.read_text()
    called = (tmp_path / "log/systemctl").read_text().split()
    assert {path.name for path in TIMERS} | {"phimage", "phimage-publisher"} <= set(called)
    [line] = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("phimage:")]
    assert (tmp_path / "var/lib/phimage").stat().st_uid == int(line.split(":")[2])
