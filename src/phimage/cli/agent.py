"""`phimage agent`: the program that runs beside the disk of a machine."""

from __future__ import annotations

from pathlib import Path

import click

from phimage.cli.exit_codes import file_errors
from phimage.cli.output import echo, note
from phimage.cli.sections import OPERATORS, SectionedGroup

SECTIONS = {
    OPERATORS: {
        "pyz": "phimage.cli.agent:pyz",
        "rescue": "phimage.cli.rescue:rescue",
    },
}


@click.group(cls=SectionedGroup, sections=SECTIONS, short_help="Make the agent that deploys and captures disks.")
def agent() -> None:
    """Make the agent, which deploys and captures the disk of a machine, and the rescue system in which it runs."""


@click.command(short_help="Write the agent as one file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("phimage-agent.pyz"),
    show_default=True,
    help="File to write.",
)
def pyz(output: Path) -> None:
    """Write the agent as one file. It needs Python 3.11 and libzstd, and nothing else.

    On Debian these are the packages python3 and libzstd1. The file belongs to this version of phimage.

    \b
    Examples:
      phimage agent pyz -o /srv/http/phimage-agent.pyz
      python3 phimage-agent.pyz disks
    """
    from phimage.agent_archive import make_archive
    from phimage.files import replace_file

    archive = make_archive()
    with file_errors(output):
        replace_file(output, archive)
        output.chmod(0o755)
    echo(str(output))
    note(f"{len(archive)} bytes; run it with python3 {output} --help")
