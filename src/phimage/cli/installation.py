"""Options that choose an installation on this machine, for commands that open its database or store."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from phimage.cli.output import note
from phimage.processes.runtime import private_files
from phimage.settings import read_settings
from phimage.waiting import LIMIT_SECONDS, NOTICE_SECONDS, Patience

_OPTIONS = (
    click.option("--config", type=click.Path(path_type=Path), envvar="PHIMAGE_CONFIG", help="TOML file with settings."),
    click.option("--data-dir", metavar="FOLDER", help="Data folder.  [default: phimage-data]"),
    click.option("--store", metavar="FOLDER|s3://...", help="Store of image bytes.  [default: store in the data folder]"),
    click.option("--database", metavar="URL", help="postgresql://...  [default: SQLite in the data folder]"),
)


_WAIT = "phimage.wait"
_wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0.1),
    default=LIMIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Limit for waiting for a database or a store that is away or locked.",
)


def patience() -> Patience:
    """The patience of the running command, from its --wait option. It announces waits on standard error."""
    limit: float = click.get_current_context().meta.get(_WAIT, LIMIT_SECONDS)
    return Patience(note, limit, min(NOTICE_SECONDS, limit / 2))


def with_installation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds the options for an installation. The command creates private files."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with private_files():
            return command(*args, **kwargs)

    decorated: Callable[..., Any] = run
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def of_installation(command: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds these options and --wait, and passes `settings` to the command."""

    @wraps(command)
    def run(
        *args: Any,
        config: Path | None,
        data_dir: str | None,
        store: str | None,
        database: str | None,
        wait: float,
        **kwargs: Any,
    ) -> Any:
        click.get_current_context().meta[_WAIT] = wait
        settings = read_settings(config, os.environ, {"data_dir": data_dir, "store": store, "database": database})
        return command(*args, settings=settings, **kwargs)

    return with_installation_options(_wait_option(run))
