"""`phimage completion` and `phimage info`: what a new shell and a bug report need."""

from __future__ import annotations

import platform
import shutil

import click

from phimage import __version__
from phimage.cli.installation import of_installation
from phimage.cli.output import echo, json_option, print_json
from phimage.cli.profile import config_file, read_config
from phimage.settings import Settings

VARIABLE = "_PHIMAGE_COMPLETE"
"""The variable by which a shell asks the command for completions (see `click.shell_completion`)."""


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands and options in a shell.

    \b
    Examples:
      phimage completion bash > ~/.local/share/bash-completion/completions/phimage
      phimage completion zsh > "${fpath[1]}/_phimage"
      phimage completion fish > ~/.config/fish/completions/phimage.fish
    """
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(root.command, {}, "phimage", VARIABLE).source())


@click.command(short_help="Show the version and where everything is.")
@of_installation
@json_option
def info(settings: Settings, as_json: bool) -> None:
    """Show the version, the profile in use, and the places of the installation that other commands would use. Opens nothing.

    \b
    Examples:
      phimage info
      phimage info --data-dir /var/lib/phimage --json
    """
    config = read_config()
    facts = {
        "Version": __version__,
        "Python": platform.python_version(),
        "System": platform.platform(),
        "QemuImg": shutil.which("qemu-img") or "",
        "Config": str(config_file()),
        "Profile": config.default if config.profile else "",
        "DataFolder": str(settings.data_folder.absolute()),
        "HasInstallation": settings.master_key_file.exists(),
        "Database": "PostgreSQL" if settings.database else "SQLite in the data folder",
        "Store": settings.store_place.partition("?")[0],
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        text = {True: "yes", False: "no", "": "-"}.get(value, value)
        echo(f"{name:<17}{text}")
