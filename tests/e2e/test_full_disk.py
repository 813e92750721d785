"""Commands whose output or disk has no room: one line that names it, no traceback, and a download that goes on later."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from phimage import demo as demonstration
from tests.commands import Result
from tests.e2e.process import COMMAND_SECONDS, PHIMAGE, Phimage

IMAGE = demonstration.WITH_DISK


def shell(phimage: Phimage, text: str) -> Result:
    """Run a line of a shell in which "phimage" is the command."""
    line = text.replace("phimage", shlex.quote(PHIMAGE), 1)
    ended = subprocess.run(
        ["bash", "-c", line],
        env=phimage.environment,
        cwd=phimage.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return Result(ended.returncode, ended.stdout, ended.stderr)


OTHERS = ("catalog schema", f"image url {IMAGE}", "catalog starter")


@pytest.mark.parametrize("command", ["image ls", "--help", *(pytest.param(one, marks=pytest.mark.more) for one in OTHERS)])
def test_an_output_that_is_full_is_named(demo_cli: Phimage, command: str) -> None:
    result = shell(demo_cli, f"phimage {command} > /dev/full")
    assert (result.code, result.err) == (1, "phimage: standard output: No space left on device\n")


def test_a_reader_that_has_enough_ends_a_command_quietly(demo_cli: Phimage) -> None:
    result = shell(demo_cli, "phimage catalog starter | head -1")
    assert (result.out.count("\n"), result.err) == (1, "")


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", *(pytest.param(one, marks=pytest.mark.more) for one in (">&-", "2>&-"))])
def test_a_stream_that_is_closed_is_not_used(demo_cli: Phimage, closed: str) -> None:
    result = shell(demo_cli, f"phimage image download {IMAGE} -o disk.raw {closed}")
    assert (result.code, "Traceback" in result.err) == (0, False)


def test_text_that_the_terminal_cannot_show_is_escaped(demo_cli: Phimage) -> None:
    result = shell(demo_cli, "PYTHONIOENCODING=latin-1 phimage catalog starter | iconv -f latin1 -t utf-8")
    assert result.code == 0
    assert "\\u" in result.out


def test_a_download_onto_a_full_disk_keeps_what_it_has_and_goes_on_later(demo_cli: Phimage) -> None:
    part = demo_cli.home / "disk.raw.part"

    full = shell(demo_cli, f"prlimit --fsize=3000000 phimage image download {IMAGE} -o disk.raw")

    assert full.code == 1
    assert full.err.splitlines()[-1] == (
        "phimage: disk.raw.part: File too large; what was written is kept: correct that and run the same command again"
    )
    assert 2_000_000 < part.stat().st_size <= 3_000_000
    assert demo_cli.well("image", "download", IMAGE, "-o", "disk.raw") == "disk.raw\n"
    assert not part.exists()


def test_a_download_replaces_a_file_when_it_is_told_to(demo_cli: Phimage) -> None:
    file = demo_cli.home / "disk.raw"
    file.write_bytes(b"mine")
    assert demo_cli.run("image", "download", IMAGE, "-o", "disk.raw").code == 1
    demo_cli.well("image", "download", IMAGE, "-o", "disk.raw", "--force")
    assert file.stat().st_size == 8 << 20
