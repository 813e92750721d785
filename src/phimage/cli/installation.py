"""Which installation of this machine a command is about."""

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
    click.option("--config", type=click.Path(path_type=Path), envvar="PHIMAGE_CONFIG", help="TOML file of settings."),
    click.option("--data-dir", metavar="FOLDER", help="Data folder.  [default: phimage-data]"),
    click.option("--store", metavar="FOLDER|s3://...", help="Where image bytes are.  [default: store in the data folder]"),
    click.option("--database", metavar="URL", help="postgresql://...  [default: SQLite in the data folder]"),
)


_WAIT = "phimage.wait"
_wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0.1),
    default=LIMIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a database or a store that is away or locked.",
)


def patience() -> Patience:
    """How long the command that runs now waits, with its announcements on standard error."""
    limit: float = click.get_current_context().meta.get(_WAIT, LIMIT_SECONDS)
    return Patience(note, limit, min(NOTICE_SECONDS, limit / 2))


def with_installation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name an installation. The files that it creates are private."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        with private_files():
            return command(*args, **kwargs)

    found: Callable[..., Any] = run
    for option in reversed(_OPTIONS):
        found = option(found)
    return found


def of_installation(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command those options, and `settings` made of them, and --wait for `patience`."""

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
