"""Which installation of this machine a command is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from phimage.process import private_files
from phimage.settings import read_settings

_OPTIONS = (
    click.option("--config", type=click.Path(path_type=Path), envvar="PHIMAGE_CONFIG", help="TOML file of settings."),
    click.option("--data", metavar="FOLDER", help="Data folder.  [default: phimage-data]"),
    click.option("--store", metavar="FOLDER|s3://...", help="Where image bytes are.  [default: store in the data folder]"),
    click.option("--database", metavar="URL", help="postgresql://...  [default: SQLite in the data folder]"),
)


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
    """Give a command those options, and `settings` made of them."""

    @wraps(command)
    def run(*args: Any, config: Path | None, data: str | None, store: str | None, database: str | None, **kwargs: Any) -> Any:
        settings = read_settings(config, os.environ, {"data": data, "store": store, "database": database})
        return command(*args, settings=settings, **kwargs)

    return with_installation_options(run)
