"""Manual pages: one for every command, with everything that its help has, in macros that roff accepts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from phimage.cli.exit_codes import EXIT_CODES
from phimage.cli.man import page
from phimage.reference.commands import options, walk
from tests import commands

COMMANDS = list(walk())
MACROS = {".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".BR", ".nf", ".fi", ".sp"}


def plain(text: str) -> str:
    """Roff as it is read, without requests and escapes."""
    lines = (re.sub(r"^\.(B|SS|SH|BR) ", "", line) for line in text.splitlines())
    return "\n".join(lines).replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def test_a_page_for_every_command_is_written(tmp_path: Path) -> None:
    result = commands.run("man", tmp_path / "man1")

    assert result.code == 0
    assert {file.name for file in (tmp_path / "man1").iterdir()} == {
        f"{ctx.command_path.replace(' ', '-')}.1" for ctx in COMMANDS
    }
    assert commands.run("man").out == (tmp_path / "man1" / "phimage.1").read_text("utf-8")


@pytest.mark.parametrize("ctx", COMMANDS, ids=lambda ctx: ctx.command_path)
def test_a_page_has_the_help_the_options_and_the_exit_codes(ctx: click.Context) -> None:
    text = plain(page(ctx))

    first = re.split(r"\n\n|\b\n", ctx.command.help or "")[0]
    assert " ".join(first.split()) in text
    examples = (ctx.command.help or "").partition("\b\n")[2].splitlines()[1:]
    assert [line for line in examples if line.strip() and line.strip() not in text] == []
    assert [option.name for option in options(ctx) if f"\n{option.opts[0]}" not in text and option.opts[0] not in text] == []
    section = text.partition("\nEXIT STATUS\n")[2].partition("\nFILES\n")[0]
    assert [code for code in EXIT_CODES if f"\n{code}\n" not in f"\n{section}"] == []


def test_pages_use_known_macros_and_no_stray_escape() -> None:
    for line in (line for ctx in COMMANDS for line in page(ctx).splitlines()):
        assert not line.startswith("'"), line
        if line.startswith("."):
            assert line.split()[0] in MACROS, line
        assert re.sub(r"\\[-&e]", "", line).count("\\") == 0, line


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_roff_formats_every_page_without_a_warning() -> None:
    pages = "".join(page(ctx) for ctx in COMMANDS)

    done = subprocess.run(
        ["groff", "-k", "-man", "-ww", "-Tutf8"], input=pages, capture_output=True, encoding="utf-8", check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "Publish a disk image" in done.stdout
