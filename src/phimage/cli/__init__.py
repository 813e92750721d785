"""The `phimage` command: one file per noun, thin over the signed client.

Exit codes: 0 well, 1 refused or failed, 2 `catalog plan` found changes, 64 the command was written wrongly, 65 an image, its
source or a withdrawal was refused, 69 no answer from the server, the database or the store, 75 another process holds what is
needed, 78 the installation or its settings are wrong, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from phimage import __version__
from phimage.cli.ending import ended
from phimage.processes.runtime import exit_process

COMMANDS = {
    "serve": ("phimage.cli.serve", "serve"),
    "publisher": ("phimage.cli.publisher", "publisher"),
    "demo": ("phimage.cli.demo", "demo"),
    "image": ("phimage.cli.image", "image"),
    "catalog": ("phimage.cli.catalog", "catalog"),
    "store": ("phimage.cli.store", "store"),
    "backup": ("phimage.cli.backup", "backup"),
    "quota": ("phimage.cli.quota", "quota"),
    "log": ("phimage.cli.log", "log"),
    "account": ("phimage.cli.account", "account"),
    "user": ("phimage.cli.user", "user"),
    "project": ("phimage.cli.project", "project"),
    "key": ("phimage.cli.key", "key"),
    "api": ("phimage.cli.api", "api"),
    "sign": ("phimage.cli.sign", "sign_"),
    "config": ("phimage.cli.config", "config"),
    "db": ("phimage.cli.db", "db"),
}


class _Lazy(click.Group):
    """A group that imports a command when it is used, so that each starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A command by name."""
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="phimage")
def phimage() -> None:
    """The image service of a physical cloud.

    \b
    Examples:
      phimage demo                      a server, a catalogue, how to call them
      phimage serve                     a server of your own
      phimage image ls --zone cn-bj2-02
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. `arguments` are those of the process by default."""
    sys.exit(ended(lambda: phimage.main(arguments, prog_name="phimage", standalone_mode=False)))


def entry_point() -> NoReturn:
    """The `phimage` process."""
    exit_process(ended(lambda: phimage.main(prog_name="phimage", standalone_mode=False)))
