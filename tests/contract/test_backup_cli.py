"""`phimage backup` as an operator uses it: what it refuses, and with which exit code. The how-to page has what it does."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from phimage.cli import phimage, prompts
from phimage.errors import PhimageError
from phimage.installation import prepare
from phimage.settings import Settings
from tests.contract.stores import KEYS

PASSPHRASE = "correct horse battery"


@pytest.fixture
def dialect() -> str:
    """What the commands say does not depend on the database."""
    return "sqlite"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation in the folder `data`, and a folder `backups` with one backup that has the key inside."""
    folder = tmp_path_factory.mktemp("installation")
    data = str(folder / "data")
    prepare(Settings(data_dir=data))
    made = run("create", f"{folder}/backups", "--data-dir", data, "--with-key", text=f"{PASSPHRASE}\n{PASSPHRASE}\n")
    assert made.exit_code == 0, made.output
    return folder


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that, in which the commands are run."""
    found = tmp_path / "home"
    shutil.copytree(template, found)
    monkeypatch.chdir(found)
    return found


def run(*arguments: str, text: str | None = None) -> Result:
    with patch.object(prompts, "at_terminal", lambda: text is not None):
        return CliRunner().invoke(phimage, ["backup", *arguments], input=text)


def well(*arguments: str) -> Any:
    found = run(*arguments, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def refused(*arguments: str, text: str | None = None) -> tuple[int, str]:
    """The exit code of a command, and why."""
    error = run(*arguments, text=text).exception
    assert isinstance(error, PhimageError), error
    return error.exit_code, str(error)


@pytest.mark.more
def test_a_restore_without_a_key_asks_for_the_passphrase(home: Path) -> None:
    assert run("restore", "backups", "--data-dir", "new", text=f"{PASSPHRASE}\n").exit_code == 0
    assert (home / "new/master.key").read_text() == (home / "data/master.key").read_text()
    assert (home / "new/master.key").stat().st_mode & 0o777 == 0o600


def test_a_wrong_passphrase_and_a_missing_key_are_refused_before_anything_is_written(home: Path) -> None:
    assert refused("restore", "backups", "--data-dir", "new", text="another one, long\n") == (
        78,
        "the passphrase is not the one that the master key was encrypted with",
    )
    name = well("create", "backups", "--data-dir", "data")["Name"]
    code, why = refused("restore", "backups", "--data-dir", "new")
    assert (code, why) == (78, f"backup {name} contains no master key: name the file of the key with --key")
    assert not (home / "new").exists()


@pytest.mark.parametrize("command", ["list", "verify", "restore", "drill"])
def test_a_folder_that_is_not_there_is_named_and_not_made(home: Path, command: str) -> None:
    code, why = refused(command, "typo")
    assert (code, why.partition(":")[0]) == (78, "there is no folder typo")
    assert not (home / "typo").exists()


def test_a_place_that_does_not_answer_exits_with_69(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    code, why = refused("list", "s3://backups/here?endpoint=http://127.0.0.1:9")
    assert code == 69
    assert "check that the store at that address is running" in why


def test_keys_in_the_address_are_refused_and_called_what_they_are(home: Path) -> None:
    code, why = refused("create", "s3://key:secret@backups/here", "--data-dir", "data")
    assert (code, why.partition(";")[0]) == (78, "DEST contains keys")


def test_a_damaged_backup_is_a_finding_and_exits_with_1(home: Path) -> None:
    chunk = max((home / "backups/chunks").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\0")
    found = run("verify", "backups", "--json")
    assert found.exit_code == 1
    assert {finding["Kind"] for finding in json.loads(found.stdout)["FindingSet"]} == {"corrupt", "database"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_drill_that_a_timer_ends_leaves_nothing(home: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restored installation would stay in the folder, with its master key."""
    outside: list[int] = []
    scratch = home / "scratch"
    scratch.mkdir()

    def restore(*_: object, **__: object) -> None:
        assert [path.name[:14] for path in scratch.iterdir()] == ["phimage-drill-"]
        signal.raise_signal(number)
        raise AssertionError("the signal did not end the drill")

    monkeypatch.setattr("phimage.drill.restore", restore)
    before = signal.signal(number, lambda *_: outside.append(1))
    try:
        found = run("drill", "backups", "--data-dir", "data", "--scratch", "scratch")
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)

    assert (found.exit_code, "Aborted" in found.output, list(scratch.iterdir())) == (1, True, [])  # `main` makes it 130
    assert outside == [1]  # that after the command


def test_backups_are_listed_and_the_oldest_removed(home: Path) -> None:
    first = [one["Name"] for one in well("list", "backups")["BackupSet"]]
    made = well("create", "backups", "--data-dir", "data", "--keep", "1")
    assert made["Removed"] == first
    assert [(one["Name"], one["KeyInside"]) for one in well("list", "backups")["BackupSet"]] == [(made["Name"], False)]


def test_holds_are_listed_and_released(home: Path) -> None:
    (hold,) = well("hold", "48h", "--data-dir", "data")["HoldSet"]
    assert well("hold", "--data-dir", "data")["HoldSet"] == [hold]
    assert well("hold", "--release", hold["Id"], "--data-dir", "data")["HoldSet"] == []
    assert refused("hold", "--release", hold["Id"], "--data-dir", "data")[0] == 78
    assert run("hold", "soon", "--data-dir", "data").exit_code == 2  # click's own; `main` makes it 64
