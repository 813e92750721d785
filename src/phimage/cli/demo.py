"""`phimage demo`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from phimage.cli.image_list import print_images
from phimage.cli.output import echo
from phimage.cli.profile import Config, Profile, read_config, write_config
from phimage.errors import PhimageError
from phimage.settings import Settings, read_settings

if TYPE_CHECKING:
    from phimage.catalog.accounts import NewKey

LOOPBACK = "127.0.0.1"
MIN_FREE_MB = 64
"""Less than the default setting, so that the demonstration starts on small disks."""
SHOWN = 5
"""Images in the list."""
TENANT, OPERATOR = "demo", "operator"
"""The names of the profiles."""


@click.command(short_help="Start a demonstration server and show how to call it.")
@click.option("--data-dir", metavar="FOLDER", default="phimage-demo", show_default=True, help="Folder of the demonstration.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes any free one.")
@click.option("--require-zone/--no-require-zone", default=True, show_default=True, help="Whether a list must name its zone.")
@click.option("--once", is_flag=True, help="Stop after the list.")
def demo(data_dir: str, host: str, port: int, require_zone: bool, once: bool) -> None:
    """Start a server with the starter catalogue and a demonstration account, list images, and show what to try next.

    One small disk is published. The data folder has the profiles of the commands that are shown, with their keys.

    \b
    Examples:
      phimage demo
      phimage demo --once --port 0
    """
    from phimage import demo as demonstration
    from phimage.demo_disk import obstacle
    from phimage.demo_steps import PROFILES
    from phimage.event_log import warnings_only
    from phimage.processes.runtime import in_child, private_files
    from phimage.processes.server import serve

    flags = {
        "data_dir": data_dir,
        "host": host,
        "port": port,
        "require_zone": require_zone,
        "explain_signatures": host == LOOPBACK,
    }
    cannot_publish = obstacle()
    publishers = 0 if once or cannot_publish else 1  # none for `--once`: it would be stopped while it starts
    settings = read_settings(None, {}, {**flags, "publishers": publishers, "min_free_mb": MIN_FREE_MB})
    profiles = settings.data_folder / PROFILES
    failure: list[Exception] = []

    def fill(settings: Settings) -> NewKey | None:
        demonstration.claim(settings.data_folder)
        return demonstration.fill(settings, has_operator_key=OPERATOR in read_config(profiles).profile)

    def listening(url: str, operator_key: NewKey | None) -> bool:
        try:
            _write_profiles(profiles, url, operator_key)
            show = _prepare_output(url, data_dir, cannot_publish)  # first: a reader of "listening on" may stop the server
            echo(f"listening on {url}")
            show()
            if not once:
                _show_console(url)
                echo("Serving until Ctrl-C.")
        except PhimageError as error:
            failure.append(error)
        except BrokenPipeError as error:  # the reader closed the pipe, as `| head` does
            failure.append(error)
        return not (once or failure)

    with private_files(), warnings_only():  # its reader looks for what to try next, not for events
        serve(settings, lambda settings: in_child(lambda: fill(settings)), listening)
    if failure:
        raise failure[0]


def _write_profiles(path: Path, url: str, operator_key: NewKey | None) -> None:
    """Write the profiles of the demonstration, with the address of this start. Other profiles in the file stay."""
    from phimage import demo as demonstration

    place = {"endpoint": url, "region": demonstration.REGION, "zone": demonstration.ZONE}
    known = read_config(path).profile
    tenant = Profile(
        **place,
        project=demonstration.PROJECTS_OF_DEMO[0][0],
        public_key=demonstration.PUBLIC_KEY,
        private_key=demonstration.PRIVATE_KEY.reveal(),
    )
    if operator_key is None:
        operator = replace(known[OPERATOR], endpoint=url)
    else:
        operator = Profile(**place, public_key=operator_key.public, private_key=operator_key.private.reveal())
    write_config(Config(TENANT, {**known, TENANT: tenant, OPERATOR: operator}), path)


def _prepare_output(url: str, data_dir: str, cannot_publish: str) -> Callable[[], None]:
    """Call the server, and return a function that prints the list and the steps."""
    from phimage import demo as demonstration
    from phimage.demo_steps import curl, steps

    with demonstration.client(url) as client:
        response = client.call("DescribePHostImage", Region=demonstration.REGION, Zone=demonstration.ZONE, Limit=SHOWN)
        has_bytes = client.call("GetPHostImage", ImageId=demonstration.WITH_DISK).fields["Disk"] is not None
    shown = [step for step in steps(data_dir, _programs()) if has_bytes or not step.needs_bytes] + [curl(url)]

    def show() -> None:
        echo()
        print_images(response.fields["ImageSet"])
        images, total = response.fields["ImageSet"], response.fields["TotalCount"]
        echo(f"{len(images)} of the {total} images that machines of {demonstration.ZONE} can run\n")
        echo("Try it, in a second terminal in this folder:\n")
        for step in shown:
            echo(f"# {step.purpose}\n{step.command}")
        if cannot_publish:
            echo(f"\nThe demonstration's disk needs no conversion. Publishing others: {cannot_publish}")
        echo("\nREADME.md has the same for the Python SDK, the ucloud CLI and Terraform.")

    return show


def _show_console(url: str) -> None:
    """Print a link into the console, as the tenant, and the commands that make others."""
    from phimage import demo as demonstration

    with demonstration.client(url) as client:
        link = client.call("CreateConsoleLogin").fields["LoginUrl"]
    echo(f"\nThe console, for a browser (this link works once, within a minute):\n{link}")
    echo(f"Later, or as the operator: phimage console --open, phimage console --open --profile {OPERATOR}\n")


def _programs() -> str:
    """The folder of the phimage command unless it is on the path, relative to the present folder if it is below."""
    if shutil.which("phimage"):
        return ""
    folder, here = Path(sys.prefix) / "bin", Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
