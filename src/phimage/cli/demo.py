"""`phimage demo`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from phimage.cli.image import print_images
from phimage.cli.output import console
from phimage.errors import PhimageError
from phimage.settings import read_settings

LOOPBACK = "127.0.0.1"
RESERVE_MB = 64
"""What publishing leaves free: the demonstration needs less than others."""


@click.command(short_help="Start a server with a catalogue, and show how to call it.")
@click.option("--data-dir", metavar="FOLDER", default="phimage-demo", show_default=True, help="Folder of the demonstration.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes any free one.")
@click.option("--require-zone/--no-require-zone", default=True, show_default=True, help="Whether a list must name its zone.")
@click.option("--once", is_flag=True, help="Stop after the list.")
def demo(data_dir: str, host: str, port: int, require_zone: bool, once: bool) -> None:
    """Start a server with the starter catalogue and a demonstration account, list images, and show how to call it.

    It publishes one small disk, if qemu-img is here, and shows how to download it. It keeps to its own data folder and leaves
    any other alone.

    \b
    Examples:
      phimage demo
      phimage demo --once --port 0
    """
    from phimage import demo as demonstration
    from phimage.demo_disk import can_publish
    from phimage.processes.runtime import private_files
    from phimage.processes.server import serve

    flags = {
        "data_dir": data_dir,
        "host": host,
        "port": port,
        "require_zone": require_zone,
        "explain_signatures": host == LOOPBACK,
    }
    publishers = 1 if can_publish() else 0
    settings = read_settings(None, {}, {**flags, "publishers": publishers, "min_free_mb": RESERVE_MB})
    failure: list[Exception] = []

    def listening(url: str, _filled: None) -> bool:
        try:
            shown = _shown(demonstration, url)  # before anybody is told that it listens, and may stop it
            click.echo(f"listening on {url}")
            shown()
            if not once:
                click.echo("Serving until Ctrl-C.")
        except PhimageError as error:
            failure.append(error)
        except BrokenPipeError as error:  # nobody reads any more, as with `| head`
            failure.append(error)
        return not (once or failure)

    with private_files():
        serve(settings, demonstration.fill, listening)
    if failure:
        raise failure[0]


def _shown(demonstration: Any, url: str) -> Callable[[], None]:
    """Ask the server for what is shown, and make what shows it."""
    with demonstration.client(url) as client:
        answer = client.call("DescribePHostImage", Region=demonstration.REGION, Zone=demonstration.ZONE)
    examples = (
        ("With curl", demonstration.curl(url)),
        ("Download the demonstration disk", demonstration.download(url)),
        ("With the Python SDK", demonstration.python(url)),
        ("With Terraform", demonstration.terraform(url)),
    )

    def show() -> None:
        click.echo(f"\nDescribePHostImage in {demonstration.ZONE}, asked with the signed API:\n")
        print_images(answer.fields["ImageSet"])
        click.echo(f"{len(answer.fields['ImageSet'])} of {answer.fields['TotalCount']} images\n")
        out = console()
        for title, text in examples:
            out.print(f"── {title} ──", style="bold")
            click.echo(f"{text}\n")

    return show
