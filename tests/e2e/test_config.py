"""Profiles, and what the command line says and exits with when something is wrong."""

from __future__ import annotations

import json
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.conftest import DEMO_KEY
from tests.e2e.process import Phimage, Server

ADD = ("config", "add", "lab", "--endpoint", "http://127.0.0.1:1", "--public-key", "phimagelab")


@pytest.fixture
def cli(tmp_path: Path) -> Phimage:
    """The command line of somebody who never used it."""
    return Phimage(tmp_path)


def config_file(cli: Phimage) -> Path:
    return cli.home / "config" / "phimage" / "config.toml"


def test_profiles_are_added_used_and_forgotten_and_their_private_keys_never_shown(cli: Phimage, demo: Server) -> None:
    assert cli.run("config", "ls") == (0, "no profiles: add one with `phimage config add`\n", "")
    added = cli.run(*ADD, "--private-key", "hidden-lab", "--region", "cn-bj2", "--zone", "cn-bj2-02")
    assert (added.code, added.err) == (0, f"profile lab is in {config_file(cli)} and in use\n")
    assert stat.S_IMODE(config_file(cli).stat().st_mode) == 0o600
    key = ("--public-key", DEMO_KEY.public, "--private-key", DEMO_KEY.private)
    cli.well("config", "add", "demo", "--endpoint", demo.url, *key, "--region", "cn-bj2", "--zone", "cn-bj2-02")

    profiles = cli.json("config", "ls")
    assert [(row["Profile"], row["InUse"], row["PublicKey"]) for row in profiles] == [
        ("lab", False, "phimagelab"),
        ("demo", True, DEMO_KEY.public),
    ]
    shown = cli.well("config", "ls") + json.dumps(profiles)
    assert "phimagelab" in shown
    assert "hidden-lab" not in shown
    assert DEMO_KEY.private not in shown

    cli.well("config", "use", "lab")
    assert cli.run("image", "ls").code == 69
    assert cli.run("image", "ls", "--profile", "demo").code == 0
    cli.well("config", "rm", "lab")
    assert [row["Profile"] for row in cli.json("config", "ls")] == ["demo"]
    assert "hidden-lab" not in config_file(cli).read_text()
    assert stat.S_IMODE(config_file(cli).stat().st_mode) == 0o600
    unknown = cli.run("config", "use", "lab")
    assert (unknown.code, unknown.err) == (78, f"phimage: {config_file(cli)} has no profile 'lab'; it has demo\n")
    assert list(config_file(cli).parent.iterdir()) == [config_file(cli)]


def test_a_private_key_is_asked_for_and_not_shown_while_it_is_typed(cli: Phimage) -> None:
    result = cli.in_terminal(*ADD, answers={"private key": "typed-secret"})
    assert result.code == 0
    assert "typed-secret" not in result.out
    assert "typed-secret" in config_file(cli).read_text()


def test_a_profile_is_changed_in_part(cli: Phimage) -> None:
    cli.well(*ADD, "--private-key", "hidden-lab")
    cli.well("config", "add", "lab", "--zone", "hk-02")
    [profile] = cli.json("config", "ls")
    assert (profile["PublicKey"], profile["Zone"], profile["Endpoint"]) == ("phimagelab", "hk-02", "http://127.0.0.1:1")
    assert "hidden-lab" in config_file(cli).read_text()


def test_a_command_without_a_key_says_where_to_put_one(cli: Phimage) -> None:
    result = cli.run("image", "ls", "--region", "cn-bj2", "--zone", "cn-bj2-02")
    assert result.code == 64
    assert "no key to sign with: run `phimage config add`, or set PHIMAGE_PUBLIC_KEY and PHIMAGE_PRIVATE_KEY" in result.err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("image", "list"), "No such command 'list'"),
        (("image", "ls", "--limit", "-1"), "'--limit'"),
        (("image", "ls", "--type", "Business"), "'--type'"),
        (("image", "ls", "--mine", "--type", "Base"), "--mine lists custom images"),
        (("user", "add", "alice"), "--account"),
        (("config", "add", "lab"), "a new profile needs --public-key"),
        (("serve", "--port", "http"), "'--port'"),
    ],
)
def test_a_command_that_is_written_wrongly_exits_64(cli: Phimage, command: tuple[str, ...], told: str) -> None:
    result = cli.using("http://127.0.0.1:1", DEMO_KEY).run(*command)
    assert (result.code, result.out) == (64, "")
    assert result.err.startswith("Usage: phimage")
    assert told in result.err


def test_where_nothing_listens_a_command_exits_69_and_asks_whether_phimage_runs(cli: Phimage) -> None:
    with closing(socket.socket()) as taken:  # bound and never listening, so nobody else can have the port
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = cli.using(endpoint, DEMO_KEY).run("image", "ls")
    told = f"phimage: no answer from {endpoint}: Connection refused; check that phimage runs there\n"
    assert (result.code, result.out, result.err) == (69, "", told)


def test_a_host_that_there_is_not_and_an_address_that_is_none_are_told_apart(cli: Phimage) -> None:
    unknown = cli.using("http://nowhere.invalid", DEMO_KEY).run("image", "ls")
    assert (unknown.code, unknown.err.startswith("phimage: no answer from http://nowhere.invalid: ")) == (69, True)
    for address in ("127.0.0.1:8080", "http://127.0.0.1:port", "ftp://127.0.0.1"):
        wrong = cli.using(address, DEMO_KEY).run("image", "ls")
        told = f"phimage: {address!r} is not an address; expected http://host:port\n"
        assert (wrong.code, wrong.err) == (1, told)


def test_a_refusal_exits_1_with_the_retcode_and_what_would_do(cli: Phimage, demo: Server) -> None:
    user = cli.using(demo.url, DEMO_KEY)
    result = user.run("image", "ls", "--region", "cn-bj2", "--zone", "cn-bj2-09")
    zones = "region cn-bj2 has cn-bj2-02, cn-bj2-03, cn-bj2-05"
    told = f"phimage: RetCode 230: Params [Zone] not available ({zones})\n"
    assert (result.code, result.out, result.err) == (1, "", told)
    missing = "give --zone, or keep it in the profile: phimage config add NAME --zone ..."
    explained = user.run("image", "explain", "x", "--region", "cn-bj2")
    assert explained.err == f"phimage: RetCode 220: Missing params [Zone] ({missing})\n"


def test_a_config_file_that_cannot_be_read_exits_78_and_is_named(cli: Phimage) -> None:
    config_file(cli).parent.mkdir(parents=True)
    for text, told in (("default = ", "Invalid value"), ('[profile.lab]\ncolour = "red"\n', "colour")):
        config_file(cli).write_text(text)
        config_file(cli).chmod(0o600)
        result = cli.run("config", "ls")
        assert result.code == 78
        assert result.err.startswith(f"phimage: {config_file(cli)}: ")
        assert told in result.err
        assert config_file(cli).read_text() == text


def test_settings_that_are_wrong_exit_78_and_are_named(cli: Phimage) -> None:
    settings = cli.home / "phimage.toml"
    settings.write_text("prot = 80\n")
    misspelt = cli.run("serve", "--config", str(settings))
    assert misspelt.code == 78
    assert f"{settings}: unknown setting 'prot'; did you mean port?" in misspelt.err
    variable = Phimage(cli.home, PHIMAGE_WORKERS="many").run("serve")
    assert (variable.code, variable.err.startswith("phimage: PHIMAGE_WORKERS: ")) == (78, True)
    database = cli.run("serve", "--database", "mysql://localhost/phimage")
    assert (database.code, "expected postgresql://" in database.err) == (78, True)
    assert not (cli.home / "phimage-data" / "master.key").exists()


def test_a_profile_is_checked_with_what_to_do(cli: Phimage, demo: Server) -> None:
    key = ("--public-key", DEMO_KEY.public, "--private-key", DEMO_KEY.private)
    cli.well("config", "add", "demo", "--endpoint", demo.url, *key, "--region", "cn-bj2", "--zone", "cn-bj2-02")
    good = cli.json("config", "check")
    assert (good["Endpoint"], good["Zone"], good["Problems"]) == (demo.url, "cn-bj2-02", [])
    assert "Company   Demonstration\n" in cli.well("config", "check")

    changed = cli.run("config", "add", "demo", "--zone", "nowhere")
    assert changed.err.endswith("it was there before; changed: zone\n")
    bad = cli.run("config", "check")
    assert bad.code == 1
    assert "Params [Zone] not available" in bad.out
    assert "phimage config add NAME" in bad.out


def test_a_profile_says_what_it_takes_the_place_of_and_who_can_read_it(cli: Phimage) -> None:
    cli.well(*ADD, "--private-key-stdin", text="piped-secret\n")
    assert "piped-secret" in config_file(cli).read_text()
    other = cli.run("config", "add", "other", "--public-key", "x", "--private-key", "y")
    assert other.err.endswith("before, lab was in use: phimage config use lab\n")

    config_file(cli).chmod(0o644)
    assert cli.run("config", "ls").err == (
        f"{config_file(cli)} can be read by others, and has private keys; run: chmod 600 {config_file(cli)}\n"
    )


def test_without_a_terminal_a_private_key_is_piped(cli: Phimage) -> None:
    result = cli.run(*ADD, text="")
    assert result.code == 64
    assert "pipe it to --private-key-stdin" in result.err
    assert "standard input has no private key" in cli.run(*ADD, "--private-key-stdin", text="\n").err


def test_a_variable_that_is_no_setting_is_named_with_what_may_be_meant(tmp_path: Path) -> None:
    home = Phimage(tmp_path, PHIMAGE_WORKER="2", PHIMAGE_SOMETHING="x", PHIMAGE_ENDPOINT="http://127.0.0.1:1")
    with Server(home, "serve", "--port", "0") as server:
        said = server.errors

    assert "PHIMAGE_WORKER is no setting and was ignored; PHIMAGE_WORKERS is one\n" in said
    assert "PHIMAGE_SOMETHING is no setting and was ignored\n" in said
    assert "PHIMAGE_ENDPOINT" not in said
