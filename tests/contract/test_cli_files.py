"""Files that commands are given and cannot use: named with the reason, in one line, with the right exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.installation import prepare
from phimage.settings import Settings
from tests.commands import Result, as_nobody, run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PHIMAGE_PUBLIC_KEY", "key")
    monkeypatch.setenv("PHIMAGE_PRIVATE_KEY", "secret")
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    found = tmp_path / "data"
    prepare(Settings(data_dir=str(found)))
    return found


def refused(result: Result, code: int, *words: str | Path) -> None:
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("phimage: ")
    assert result.err.count("\n") == 1, result.err
    for word in words:
        assert str(word) in result.err


COMMANDS = [("db", "status"), ("db", "check"), ("key", "recover"), ("store", "gc"), ("serve",)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_data_folder_that_cannot_be_read_is_named(data: Path, command: tuple[str, ...]) -> None:
    run(*command, "--data-dir", data / "master.key")  # imports what it needs
    data.chmod(0)
    with as_nobody():
        result = run(*command, "--data-dir", data)
    refused(result, 78, data, "Permission denied")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "file"
    file.touch()
    refused(run(*command, "--data-dir", file), 78, file)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_database_that_is_a_folder_or_another_file_is_named(data: Path, command: tuple[str, ...]) -> None:
    database = data / "catalog.sqlite"
    for left in data.glob("catalog.sqlite-*"):
        left.unlink()
    database.write_text("not a database at all")
    refused(run(*command, "--data-dir", data), 78, database, "is not an SQLite database")
    database.unlink()
    database.mkdir()
    refused(run(*command, "--data-dir", data), 78, database, "Is a directory")


def test_a_master_key_that_is_a_folder_or_no_text_is_named(data: Path) -> None:
    key = data / "master.key"
    key.write_bytes(b"\xff" * 64)
    refused(run("key", "recover", "--data-dir", data), 78, key, "is not a master key")
    key.unlink()
    key.mkdir()
    refused(run("key", "recover", "--data-dir", data), 78, key, "Is a directory")


@pytest.mark.parametrize("address", ["postgresql://u@h:port/d", "postgresql://u@[::1/d", "sqlite://host/x", "sqlite:///"])
def test_a_malformed_address_of_the_database_is_named_by_its_setting(
    data: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    refused(run("db", "copy", "--data-dir", data, "--to", address), 78, "--to ")
    monkeypatch.setenv("PHIMAGE_DATABASE", address)
    for command in COMMANDS:
        refused(run(*command, "--data-dir", data), 78, "PHIMAGE_DATABASE ")


def test_a_database_that_is_not_there_is_not_made_by_looking_at_it(tmp_path: Path) -> None:
    file = tmp_path / "none.sqlite"
    refused(run("db", "status", "--database", f"sqlite:///{file}"), 78, file, "there is no installation")
    assert not file.exists()


def test_a_copy_into_a_folder_that_is_not_there_names_it(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "none"
    refused(run("db", "copy", "--data-dir", data, "--to", f"sqlite:///{folder}/x.sqlite"), 78, folder, "create it first")


@pytest.mark.parametrize(("content", "words"), [(None, "Is a directory"), (b"\xff\xfe", "is not UTF-8: byte 0")])
def test_a_config_file_that_is_a_folder_or_no_text_is_named(home: Path, content: bytes | None, words: str) -> None:
    file = home / "config/phimage/config.toml"
    file.parent.mkdir(parents=True)
    file.mkdir() if content is None else file.write_bytes(content)
    refused(run("config", "ls"), 78, file, words)
    refused(run("image", "ls"), 78, file, words)


def test_a_config_file_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/proc/self")  # where nobody makes a folder, root included
    result = run("config", "add", "x", "--public-key", "a", "--private-key", "b")
    refused(result, 78, "/proc/self/phimage/config.toml cannot be written")


@pytest.mark.parametrize(
    "command",
    [
        ("catalog", "plan"),
        ("sign", "--check", "@"),
        ("api", "PlanCatalog", "Catalog=@"),
        ("image", "publish", "--type", "base", "--checksum-file"),
    ],
    ids=lambda command: command[0],
)
def test_a_file_that_is_a_folder_or_no_text_or_absent_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path, binary, tmp_path / "none"):
        *before, last = command
        arguments = [*before, f"{last}{path}"] if last.endswith("@") else [*command, str(path)]
        if command[:2] == ("image", "publish"):
            arguments += ["disk", "--name", "x", "--os-type", "x", "--os-name", "x", "--zone", "z", "--support", "s"]
        result = run(*arguments)
        assert result.code in (1, 64, 65)
        assert str(path) in result.err


def test_a_download_into_a_folder_that_is_not_there_names_it(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    refused(run("image", "download", "pimg-x", "-o", folder / "disk.raw"), 1, folder, "choose another with -o")


def test_a_download_does_not_replace_a_file_unless_it_is_told_to(tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(b"mine")
    refused(run("image", "download", "pimg-x", "-o", file), 1, file, "replace it with --force")
    assert file.read_bytes() == b"mine"
