"""`phimage serve`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from phimage.cli.installation import with_installation_options
from phimage.settings import read_settings


@click.command(short_help="Start the server.")
@with_installation_options
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes any free one.  [default: 8080]")
@click.option("--workers", type=click.IntRange(1, 256), help="Server processes.  [default: 1]")
@click.option("--require-zone/--no-require-zone", default=None, help="Whether a list must name its zone.  [default: yes]")
@click.option("--explain-signatures", is_flag=True, default=None, help="Answer a wrong signature with its likely cause.")
@click.option("--explain-signatures-to-anyone", is_flag=True, default=None, help="The same, also beyond loopback.")
def serve(config: Path | None, **flags: Any) -> None:
    """Start the server, and on the first start make what it needs.

    The first start creates the data folder, a master key and an operator account, and prints the operator's key once.
    Every setting is also a variable (PHIMAGE_DATA_DIR, PHIMAGE_DATABASE, ...) and a key of the TOML file.

    \b
    Examples:
      phimage serve
      phimage serve --data-dir /var/lib/phimage --host 0.0.0.0 --workers 4
      PHIMAGE_DATABASE=postgresql://phimage@db/phimage phimage serve
    """
    from phimage.installation import Prepared, prepare
    from phimage.processes.runtime import configure_log, in_child
    from phimage.processes.server import serve as run

    def listening(url: str, prepared: Prepared) -> bool:
        with suppress(BrokenPipeError):  # nobody reads what it prints, which is no reason not to serve
            tell(url, prepared)
        return True

    def tell(url: str, prepared: Prepared) -> None:
        if prepared.new_key is not None:
            click.echo("This is the first start. The key of the operator account, shown only now:")
            click.echo(f"  public key   {prepared.new_key.public}")
            click.echo(f"  private key  {prepared.new_key.private.reveal()}")
            click.echo("Keep it and load a catalogue:")
            click.echo(f"  phimage config add operator --endpoint {url} --public-key {prepared.new_key.public}")
            click.echo("  phimage catalog starter > catalog.yaml && phimage catalog apply catalog.yaml")
        elif prepared.unchanged:
            click.echo("Nothing was changed since the first start. If its key was not kept, make another one with the settings")
            click.echo("of this server: phimage key recover")
        click.echo(f"listening on {url}")

    configure_log()
    run(read_settings(config, os.environ, flags), lambda settings: in_child(lambda: prepare(settings)), listening)
