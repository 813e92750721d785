"""`phimage-agent`: what a person or a rescue system runs beside a disk. Also as `python -m phimage.agent`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from phimage import __version__
from phimage.errors import PhimageError

INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, and exit with its code."""
    try:
        given = _parser().parse_args(arguments)
        code = _command(given.command)(given)
    except PhimageError as error:
        print(f"phimage-agent: {error}", file=sys.stderr)  # noqa: T201
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the exit does not fail again
        code = 1
    sys.exit(code)


# Each command imports only what it needs: a rescue system starts in little memory.
def _command(name: str) -> Callable[[argparse.Namespace], int]:
    match name:
        case "disks":
            from phimage.agent.disk_list import list_disks

            return list_disks
        case "deploy":
            from phimage.agent.deploy_command import deploy

            return deploy
        case "capture":
            from phimage.agent.capture_command import capture

            return capture
        case _:
            from phimage.agent.run_command import run

            return run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="phimage-agent",
        description="Deploy images to the disk of this machine, capture it, and obey the orders of a phimage server.",
    )
    parser.add_argument("--version", action="version", version=f"phimage-agent {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_disks(commands)
    _add_deploy(commands)
    _add_capture(commands)
    _add_run(commands)
    return parser


Commands = argparse._SubParsersAction  # its only name


def _add_disks(commands: Commands[argparse.ArgumentParser]) -> None:
    text = "List the disks of this machine, which of them can be written, and why the others cannot."
    disks = commands.add_parser("disks", help="list the disks of this machine", description=text)
    disks.add_argument("--json", action="store_true", help="print a JSON array")


def _add_deploy(commands: Commands[argparse.ArgumentParser]) -> None:
    deploy = commands.add_parser(
        "deploy",
        help="write an image to a disk",
        description="Write an image to a disk and verify it. The disk cannot boot until all of it is right. After an "
        "interruption the same command goes on.",
    )
    deploy.add_argument("--image", required=True, metavar="URL", help="URL of the image, as `phimage image url` prints it")
    deploy.add_argument("--disk", required=True, metavar="HINT", help="wwn:..., serial:..., path:/dev/..., or size:MIN-MAX")
    deploy.add_argument("--manifest", default="", metavar="SHA256", help="expected digest of the image's manifest")
    add_deploy_options(deploy)


def add_deploy_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a deployment."""
    parser.add_argument(
        "--read-back", action=argparse.BooleanOptionalAction, default=True, help="read back all that was written"
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything and write nothing")
    parser.add_argument("--yes", default="", metavar="SERIAL", help="serial number of the disk that is overwritten, unasked")
    parser.add_argument("--sector-size", type=int, choices=(512, 4096), default=0, help="of an image without GPT")
    parser.add_argument("--patience", type=float, default=300, metavar="SECONDS", help="how long the server may be away")
    parser.add_argument("--ca", default="", metavar="FILE", help="certificates to trust instead of the system's")
    parser.add_argument("--receipt", default="", metavar="FILE", help="write the receipt there")


def _add_capture(commands: Commands[argparse.ArgumentParser]) -> None:
    capture = commands.add_parser(
        "capture",
        help="make an image of a disk",
        description="Read a disk, which nothing may use meanwhile, into an upload of a server or into a file. A server gets "
        "only what it lacks; after an interruption the same command goes on.",
    )
    capture.add_argument("--disk", required=True, metavar="HINT", help="wwn:..., serial:..., path:/dev/..., or size:MIN-MAX")
    capture.add_argument(
        "--to", required=True, metavar="URL|FILE", help="upload URL of an image, or a file; one that ends in .zst is compressed"
    )
    capture.add_argument("--trim", action="store_true", help="end after the last partition, so that it fits smaller disks")
    capture.add_argument("--patience", type=float, default=300, metavar="SECONDS", help="how long the server may be away")
    capture.add_argument("--ca", default="", metavar="FILE", help="certificates to trust instead of the system's")


def _add_run(commands: Commands[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        aliases=["enroll"],
        help="enrol this machine with a server and obey its orders",
        description="Enrol this machine with a server, then wait for its orders. The key is kept in memory alone.",
    )
    run.add_argument("--server", required=True, metavar="URL", help="address of the server; https, unless it is this machine")
    run.add_argument("--token", default=os.environ.get("PHIMAGE_ENROLL_TOKEN", ""), help="enrol token [$PHIMAGE_ENROLL_TOKEN]")
    run.add_argument("--ca", default="", metavar="FILE", help="certificates to trust instead of the system's")
    run.add_argument("--serial-number", default="", help="of this machine, where its firmware does not say it")
    run.add_argument("--reboot-command", default="", metavar="COMMAND", help="run this after a deployment; else the host stays")
    run.add_argument("--read-back", action=argparse.BooleanOptionalAction, default=True, help="read back all that was written")


if __name__ == "__main__":
    main()
