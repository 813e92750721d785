"""`phimage demo`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from phimage.cli.image_list import print_images
from phimage.cli.output import console, echo
from phimage.errors import PhimageError
from phimage.settings import read_settings

LOOPBACK = "127.0.0.1"
MIN_FREE_MB = 64
"""Less than the default setting, so that the demonstration starts on small disks."""


@click.command(short_help="Start a demonstration server and show how to call it.")
@click.option("--data-dir", metavar="FOLDER", default="phimage-demo", show_default=True, help="Folder of the demonstration.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes any free one.")
@click.option("--require-zone/--no-require-zone", default=True, show_default=True, help="Whether a list must name its zone.")
@click.option("--once", is_flag=True, help="Stop after the list.")
def demo(data_dir: str, host: str, port: int, require_zone: bool, once: bool) -> None:
    """Start a server with the starter catalogue and a demonstration account, list images, and show how to call it.

    If this machine can publish, it publishes one small disk and shows how to download it. It has a data folder of its own.

    \b
    Examples:
      phimage demo
      phimage demo --once --port 0
    """
    from phimage import demo as demonstration
    from phimage.demo_disk import obstacle
    from phimage.processes.runtime import private_files
    from phimage.processes.server import serve

    flags = {
        "data_dir": data_dir,
        "host": host,
        "port": port,
        "require_zone": require_zone,
        "explain_signatures": host == LOOPBACK,
    }
    publishers = 0 if once or obstacle() else 1  # none for `--once`: it would be stopped while it starts
    settings = read_settings(None, {}, {**flags, "publishers": publishers, "min_free_mb": MIN_FREE_MB})
    failure: list[Exception] = []

    def listening(url: str, _filled: None) -> bool:
        try:
            show = _prepare_output(demonstration, url)  # first: a reader of "listening on" may stop the server
            echo(f"listening on {url}")
            show()
            if not once:
                echo("Serving until Ctrl-C.")
        except PhimageError as error:
            failure.append(error)
        except BrokenPipeError as error:  # the reader closed the pipe, as `| head` does
            failure.append(error)
        return not (once or failure)

    with private_files():
        serve(settings, demonstration.fill, listening)
    if failure:
        raise failure[0]


def _prepare_output(demonstration: Any, url: str) -> Callable[[], None]:
    """Call the server, and return a function that prints the list and the examples."""
    with demonstration.client(url) as client:
        response = client.call("DescribePHostImage", Region=demonstration.REGION, Zone=demonstration.ZONE)
    examples = (
        ("With curl", demonstration.curl(url)),
        ("Download the demonstration disk", demonstration.download(url)),
        ("With the Python SDK", demonstration.python(url)),
        ("With Terraform", demonstration.terraform(url)),
    )

    def show() -> None:
        echo(f"\nDescribePHostImage in {demonstration.ZONE}, through the signed API:\n")
        print_images(response.fields["ImageSet"])
        echo(f"{len(response.fields['ImageSet'])} of {response.fields['TotalCount']} images\n")
        out = console()
        for title, text in examples:
            out.print(f"── {title} ──", style="bold")
            echo(f"{text}\n")

    return show
