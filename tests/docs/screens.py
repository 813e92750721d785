"""Screens of the commands, from real runs: `make screens` writes `docs/screens.md` and the README's picture.

A command runs in a terminal of a given width, and a terminal emulator says what a person sees at its end.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyte
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from phimage.demo_steps import PROFILES, steps
from tests.e2e.process import Phimage, Server, wait_until

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PICTURE = DOCS / "screens.md", DOCS / "first-five-minutes.svg"
WIDTHS = (80, 120)
PICTURE_WIDTH = 100
MAX_LINES = 200
SECONDS = 120

HEAD = """\
# Screens

What the commands show at 80 and at 120 columns, beside the demonstration. `make screens` runs them and writes this page.
"""

COMMANDS = {
    "List": "phimage image ls --machine-type Base-SSD-V5 --cluster 25G --limit 8",
    "Explain": "phimage image explain pimg-ub-rm081p --machine-type DB-2 --cluster 25G",
    "Matrix": "phimage image matrix pimg-ub-rm081p",
    "Publish": next(step.command for step in steps() if "publish" in step.command).replace("\\\n ", ""),
    "Log": "phimage log --profile operator --changes --limit 2",
}

# As rich's own, without the address of a font.
SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


class Shown(Struct, frozen=True):
    """A command and the terminal at its end."""

    command: str
    screen: pyte.Screen

    @property
    def lines(self) -> list[str]:
        """What a person reads."""
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown


def show(phimage: Phimage, command: str, width: int) -> Shown:
    """Run a command in a terminal of a width."""
    screen = pyte.Screen(width, MAX_LINES)
    stream = pyte.ByteStream(screen)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", MAX_LINES, width, 0, 0))
    environment = {**phimage.environment, "TERM": "xterm-256color"}
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            shlex.split(command), env=environment, cwd=phimage.home, stdin=follower, stdout=follower, stderr=follower
        )
        os.close(follower)
        while piece := _read(terminal):
            stream.feed(piece)
        process.wait(SECONDS)
    return Shown(command, screen)


def _read(terminal: io.FileIO) -> bytes:
    try:
        return terminal.read(1 << 16)
    except OSError:  # the last process closed its side
        return b""


@contextmanager
def beside_a_demonstration(home: Path) -> Iterator[Phimage]:
    """Commands whose profiles are those of a demonstration that runs meanwhile."""
    phimage = Phimage(home, PHIMAGE_PROFILES=str(home / "phimage-demo" / PROFILES))
    with Server(phimage, "demo", "--port", "0") as server:
        wait_until(lambda: "Serving until" in server.output, SECONDS)
        phimage.well("image", "download", "pimg-os-web7k2ma", "-o", "disk.raw")
        yield phimage


def page(phimage: Phimage) -> str:
    """The page of all screens."""
    parts = [HEAD]
    for title, command in COMMANDS.items():
        parts.append(f"## {title}\n\n```sh\n{command}\n```\n")
        for width in WIDTHS:
            lines = "\n".join(show(phimage, command, width).lines)
            parts.append(f"{width} columns:\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


def picture(phimage: Phimage) -> str:
    """The first steps in a terminal, as SVG."""
    console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for step in [step for step in steps() if step.command.startswith("phimage image")][:4]:
        text = Text("$ ", style="bold green", no_wrap=True)
        text.append(step.command, style="bold")
        console.print(text)
        shown = show(phimage, step.command.replace("\\\n", ""), PICTURE_WIDTH)
        for number in range(len(shown.lines)):
            console.print(_styled(shown.screen, number), no_wrap=True, crop=True)
        console.print()
    return console.export_svg(title="phimage", code_format=SVG, unique_id="phimage")


def _styled(screen: pyte.Screen, number: int) -> Text:
    text, row = Text(), screen.buffer[number]
    for column in range(screen.columns):
        cell = row[column]
        color = "" if cell.fg == "default" else f" #{cell.fg}" if len(cell.fg) == 6 else f" {cell.fg}"
        text.append(cell.data, style=("bold" if cell.bold else "") + color)
    text.rstrip()
    return text


def main() -> None:
    """Write the page and the picture."""
    with tempfile.TemporaryDirectory() as home, beside_a_demonstration(Path(home)) as phimage:
        PICTURE.write_text(picture(phimage), "utf-8")
        PAGE.write_text(page(phimage), "utf-8")
    sys.stdout.write(f"{PAGE}\n{PICTURE}\n")


if __name__ == "__main__":
    main()
