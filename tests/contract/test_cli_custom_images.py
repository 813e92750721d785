"""Mistakes in commands about custom images that no server needs to see: each names the option and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run

KEY = ("--public-key", "key", "--private-key", "secret", "--endpoint", "http://127.0.0.1:1")
ABOUT = ("--name", "x", "--os-type", "x", "--os-name", "x", "--zone", "z", "--support", "s", "--trust-first-use")
USAGE = 64


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Missing option '--type'"),
        (("--type", "base", "--project", "org-a"), "a base image is for everyone: leave --project out"),
        (("--type", "other"), "'other' is not one of"),
    ],
    ids=str,
)
def test_publish_asks_for_whom_the_image_is(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    file = tmp_path / "disk.raw"
    file.write_bytes(b"")
    result = run("image", "publish", file, *options, *ABOUT, *KEY)
    assert (result.code, said in result.err) == (USAGE, True), result.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing to change: give --name"),
        (("--deprecated", "--no-deprecated"), "--deprecated or --no-deprecated, not both"),
        (("--support", "DB-2", "--no-support"), "--support or --no-support, not both"),
        (("--name", ""), "--name cannot be empty"),
        (("--os-type", ""), "--os-type cannot be empty"),
        (("--deprecated", "soon"), "expected one such as 2027-01-31"),
        (("--state", "Making"), "'Making' is not one of"),
    ],
    ids=str,
)
def test_set_says_what_is_wrong_with_its_options(options: tuple[str, ...], said: str) -> None:
    result = run("image", "set", "pimg-cs-xev4rz", *options, *KEY)
    assert (result.code, said in result.err) == (USAGE, True), result.err
