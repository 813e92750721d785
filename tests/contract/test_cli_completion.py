"""Completion in a real shell, and the facts for a bug report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from phimage import __version__
from phimage.cli import phimage
from tests.e2e.process import PHIMAGE


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_text(CliRunner().invoke(phimage, ["completion", "bash"]).output)
    asked = "COMP_WORDS=(phimage image l) COMP_CWORD=2; _phimage_completion phimage; echo ${COMPREPLY[@]}"
    done = subprocess.run(
        ["bash", "-c", f"PATH={Path(PHIMAGE).parent}:$PATH; source {script}; {asked}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == ["ls", "latest"], done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str) -> None:
    result = CliRunner().invoke(phimage, ["completion", shell])

    assert result.exit_code == 0
    assert "_PHIMAGE_COMPLETE" in result.output


def test_info_names_places_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    places = ("--data-dir", str(tmp_path / "data"), "--database", "postgresql://me:secret@db/phimage")
    result = CliRunner().invoke(phimage, ["info", *places, "--store", "s3://bucket/x?endpoint=http://key:hidden@s3:1"])

    assert result.exit_code == 0, result.output
    assert f"Version          {__version__}\nPython           {sys.version.split()[0]}\n" in result.output
    assert f"DataFolder       {tmp_path}/data\nHasInstallation  no\n" in result.output
    assert "Profile          -\n" in result.output, result.output
    assert not {"secret", "hidden"} & set(result.output.replace(":", " ").replace("@", " ").split())
