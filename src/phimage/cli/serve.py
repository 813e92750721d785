"""`phimage serve` and `phimage publisher`: the processes that run until they are stopped."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from phimage.cli.installation import with_installation_options
from phimage.cli.output import echo, note
from phimage.settings import Settings, read_settings, unknown_variables


@click.command(short_help="Start the server.")
@with_installation_options
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.  [default: 8080]")
@click.option("--workers", type=click.IntRange(1, 256), help="Server processes.  [default: 1]")
@click.option("--require-zone/--no-require-zone", default=None, help="Whether a list must name its zone.  [default: yes]")
@click.option("--explain-signatures", is_flag=True, default=None, help="Answer a wrong signature with its likely cause.")
@click.option("--explain-signatures-to-anyone", is_flag=True, default=None, help="Allow this also beyond loopback.")
def serve(config: Path | None, **flags: Any) -> None:
    """Start the server.

    The first start creates the data folder, a master key and an operator account, and prints the operator's key, once.
    Every setting is also a variable (PHIMAGE_DATA_DIR, PHIMAGE_DATABASE, ...) and a key of the TOML file.

    \b
    Examples:
      phimage serve
      phimage serve --data-dir /var/lib/phimage --host 0.0.0.0 --workers 4
      PHIMAGE_DATABASE=postgresql://phimage@db/phimage phimage serve
    """
    from phimage.catalog_file import STARTER_REGION, STARTER_ZONE
    from phimage.installation import Prepared, prepare
    from phimage.processes.runtime import in_child
    from phimage.processes.server import serve as run

    def listening(url: str, prepared: Prepared) -> bool:
        with suppress(BrokenPipeError):  # a server without a reader of its output serves nevertheless
            for sentence in unknown_variables(os.environ):
                note(sentence)
            show(url, prepared)
        return True

    def show(url: str, prepared: Prepared) -> None:
        if prepared.new_key is not None:
            echo("This is the first start. The key of the operator account, which is shown only once:")
            echo(f"  public key   {prepared.new_key.public}")
            echo(f"  private key  {prepared.new_key.private.reveal()}")
            echo("Keep it and load a catalogue:")
            key, start = prepared.new_key.public, f"--region {STARTER_REGION} --zone {STARTER_ZONE}"
            echo(f"  phimage config add operator --endpoint {url} --public-key {key} {start}")
            echo("  phimage catalog starter > catalog.yaml && phimage catalog apply catalog.yaml")
        elif prepared.unchanged:
            echo("Nothing was changed since the first start. If its key was lost, make another one with the settings of")
            echo("this server: phimage key recover")
        echo(f"listening on {url}")

    def read() -> Settings:
        return read_settings(config, os.environ, flags)

    run(read(), lambda settings: in_child(lambda: prepare(settings)), listening, read)


@click.command(short_help="Start a publisher on this or another machine.")
@with_installation_options
@click.option("--parent", type=int, hidden=True)
@click.option("--metrics-slot", hidden=True)
@click.option("--warnings-only", "is_quiet", is_flag=True, hidden=True)
def publisher(config: Path | None, parent: int | None, metrics_slot: str | None, is_quiet: bool, **flags: Any) -> None:
    """Publish images, one job at a time, until it is stopped.

    `phimage serve` starts a publisher of its own. To publish more images at a time, start others, also on other machines, with
    the same database, store and master key; a server with `publishers = 0` starts none. A publisher needs qemu-img.

    \b
    Examples:
      phimage publisher --data-dir /var/lib/phimage
      PHIMAGE_DATABASE=postgresql://phimage@db/phimage PHIMAGE_STORE=s3://images phimage publisher
    """
    from phimage.event_log import warnings_only
    from phimage.metrics.shared import MetricsSlot
    from phimage.processes.publishers import run_until_stopped

    slot = None if metrics_slot is None else MetricsSlot(*map(int, metrics_slot.split(":")))
    with warnings_only() if is_quiet else nullcontext():
        run_until_stopped(read_settings(config, os.environ, flags), parent, slot)
