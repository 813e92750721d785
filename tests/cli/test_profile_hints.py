"""The command that a new key is printed with gives a profile that works, when it is pasted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from phimage.settings import Settings
from tests.cli.site import Site
from tests.commands import Result
from tests.e2e.process import Phimage


@pytest.fixture
def operator(site: Site, tmp_path: Path) -> Phimage:
    """The operator, in a home without profiles."""
    return Phimage(tmp_path / "operator").using(site.server.url, site.keys["operator"])


@pytest.fixture
def user(tmp_path: Path) -> Phimage:
    """Somebody who gets a key."""
    return Phimage(tmp_path / "user")


def hint(result: Result) -> list[str]:
    """The words of the suggested command."""
    [line] = [line for line in result.err.splitlines() if line.startswith("  phimage config add ")]
    return shlex.split(line)[1:]


def private_key(result: Result) -> str:
    return next(line.split()[2] for line in result.out.splitlines() if line.startswith("private key"))


def paste(user: Phimage, result: Result) -> None:
    """Run the suggested command with the key that was printed."""
    assert user.run(*hint(result), text=f"{private_key(result)}\n").code == 0


def test_a_new_account_lists_images_with_the_pasted_profile(operator: Phimage, user: Phimage) -> None:
    result = operator.run("account", "add", "pasted")
    told = user.in_terminal(*hint(result), answers={"private key": private_key(result)})

    assert told.code == 0, told
    checked = user.json("config", "check")
    assert (checked["Zone"], checked["Problems"]) == ("cn-bj2-02", [])
    assert checked["Project"].startswith("org-")
    assert user.json("image", "ls")["TotalCount"] > 25


def test_an_account_begins_in_a_zone_that_it_may_use(operator: Phimage, user: Phimage) -> None:
    paste(user, operator.run("account", "add", "elsewhere", "--zone", "hk-02"))

    checked = user.json("config", "check")
    assert (checked["Region"], checked["Zone"], checked["Problems"]) == ("hk", "hk-02", [])


def test_a_sub_user_begins_in_a_project_of_its_own(operator: Phimage, user: Phimage) -> None:
    project = operator.json("account", "add", "shared")["ProjectId"]
    operator.well("user", "add", "bob", "--account", "shared")

    early = operator.run("key", "create", "--account", "shared", "--user", "bob")
    operator.well("project", "member", project, "bob", "--account", "shared", "--role", "viewer")
    paste(user, operator.run("key", "create", "--account", "shared", "--user", "bob"))

    assert early.err.splitlines()[-1] == (
        "bob is in no project yet: phimage project member PROJECT bob --account shared, then add --project"
    )
    [profile] = user.json("config", "ls")
    assert (profile["Profile"], profile["Project"]) == ("shared-bob", project)
    assert user.json("image", "ls")["TotalCount"] > 25


def test_a_recovered_key_replaces_the_lost_one_or_begins_a_profile(site: Site, user: Phimage) -> None:
    port = site.server.url.rpartition(":")[2]
    at_home = Phimage(user.home, PHIMAGE_PORT=port)
    for known in (False, True):
        result = at_home.run("key", "recover", "--data-dir", str(site.data))
        assert hint(result)[-1:] == ["--replace"] * known or not known
        assert ("--endpoint" in hint(result)) != known
        paste(user, result)

        assert user.json("config", "check")["User"] == "main"


def test_a_command_on_the_machine_finds_the_address_of_its_server() -> None:
    assert Settings(host="0.0.0.0", port=80).local_url == "http://127.0.0.1:80"
    assert Settings(host="::", tls_certificate="x").local_url == "https://[::1]:8080"
    assert Settings(public_url="https://images.example").local_url == "https://images.example"


def test_a_profile_that_is_replaced_or_removed_says_so(user: Phimage) -> None:
    key = ("--public-key", "one", "--private-key", "secret")
    user.well("config", "add", "lab", *key)
    other = ("config", "add", "lab", "--public-key", "two", "--private-key", "other")

    assert user.run(*other).code == 64
    assert "secret" in (user.home / "config/phimage/config.toml").read_text()
    asked = user.in_terminal(*other, answers={"Replace the key one of the profile lab?": "y"})
    assert (asked.code, "changed: public_key, private_key" in asked.out) == (0, True)
    assert user.run(*other[:-4], *key, "--replace").code == 0
    assert user.run("config", "use", "lab").err == "profile lab is in use\n"
    assert user.run("config", "rm", "lab").err == "no profile is left\n"
