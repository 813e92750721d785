"""`phimage publisher`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from phimage.cli.installation import with_installation_options
from phimage.settings import read_settings


@click.command(short_help="Publish images, beside or instead of the server's own publishers.")
@with_installation_options
@click.option("--parent", type=int, hidden=True)
@click.option("--measures", hidden=True)
def publisher(config: Path | None, parent: int | None, measures: str | None, **flags: Any) -> None:
    """Take the jobs of images that are to be published, one after the other, until it is stopped.

    `phimage serve` starts its own. On other machines start this one with the same database, store and master key, for more
    images at once; `publishers = 0` lets a server have none. It needs qemu-img.

    \b
    Examples:
      phimage publisher --data-dir /var/lib/phimage
      PHIMAGE_DATABASE=postgresql://phimage@db/phimage PHIMAGE_STORE=s3://images phimage publisher
    """
    from phimage.metrics.shared import MetricsSlot
    from phimage.publishers import run_until_told

    place = None if measures is None else MetricsSlot(*map(int, measures.split(":")))
    run_until_told(read_settings(config, os.environ, flags), parent, place)
