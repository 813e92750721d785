"""`phimage-agent deploy`, and what `phimage image deploy` shares with it: confirmation, progress, receipt."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from phimage.agent.crew import Crew
from phimage.agent.disk_choice import choose_disk
from phimage.agent.disks import FoundDisk, find_disks
from phimage.agent.errors import DiskRefused, ImageMismatch
from phimage.agent.image_source import ImageUrls, ServedImage, image_urls
from phimage.agent.prepared_deploy import PreparedDeploy, prepare
from phimage.agent.progress_line import ProgressLine
from phimage.errors import ClientError, PhimageError
from phimage.http_client import ApiConnections, InvalidAddress, parse_address

_TIMEOUT = 30.0
_NOT_BOOTABLE = "the disk cannot boot; run the same command again: it goes on, and fetches only what the disk lacks"


@dataclass(frozen=True)
class DeployOptions:
    """How a person deploys."""

    read_back: bool = True
    dry_run: bool = False
    yes: str = ""
    """The identity of the disk that may be overwritten without a question."""
    sector_size: int = 0
    patience: float = 300.0
    ca: str = ""
    receipt: str = ""


class DeployInterrupted(ClientError):
    """A deployment was interrupted from the keyboard."""

    exit_code = 130


def deploy(given: argparse.Namespace) -> int:
    """`phimage-agent deploy`."""
    options = DeployOptions(
        given.read_back, given.dry_run, given.yes, given.sector_size, given.patience, given.ca, given.receipt
    )
    deploy_by_hand(image_urls(given.image), given.manifest.removeprefix("sha256:"), given.disk, options)
    return 0


def deploy_by_hand(
    urls: ImageUrls, manifest: str, hint: str, options: DeployOptions, renew: Callable[[], ImageUrls] | None = None
) -> None:
    """Deploy for a person: ask, show progress, print what was done. `renew` returns URLs with new tickets.

    Raises PhimageError.
    """
    _refuse_plain_http(urls, manifest)
    crew = Crew()
    connections = ApiConnections(_TIMEOUT, options.ca)
    source = ServedImage(urls, connections, crew.pause, time.monotonic, patience=options.patience, renew=renew)
    disks = find_disks()
    prepared = prepare(choose_disk(disks, hint), disks, source, manifest, stated_sector=options.sector_size)
    prepared.check_exclusive()
    _say(_plan(prepared))
    if options.dry_run:
        _say("nothing was written: --dry-run")
        return
    _confirm(prepared.disk, options.yes)
    line = ProgressLine(sys.stderr)
    try:
        receipt = prepared.run(crew, read_back=options.read_back, on_phase=line.show)
    except KeyboardInterrupt:
        line.end()
        raise DeployInterrupted(f"interrupted: {_NOT_BOOTABLE}") from None
    except PhimageError as error:
        line.end()
        if not isinstance(error, DiskRefused):
            _say(_NOT_BOOTABLE)
        raise
    finally:
        connections.close()
    _report(receipt, options.receipt)


def _refuse_plain_http(urls: ImageUrls, manifest: str) -> None:
    """Over plain http anyone on the way could send another image, unless the digest of the right one is known."""
    try:
        private = parse_address(urls.manifest).is_private
    except InvalidAddress:
        raise ImageMismatch(f"{urls.manifest.partition('?')[0]} is not an address; expected https://HOST/images/...") from None
    if not private and not manifest:
        raise ImageMismatch(
            "over plain http anyone on the way can send another image: use https, or name the manifest's digest with --manifest"
        )


def _plan(prepared: PreparedDeploy) -> str:
    disk, chunks = prepared.disk, prepared.chunks
    text = f"disk   {disk.path}, {disk.model or 'no model'}, {disk.identity}, {disk.size} bytes: all of it is overwritten\n"
    text += f"image  {chunks.size} bytes, {chunks.data_size()} of them data, manifest sha256:{chunks.manifest}"
    if prepared.changes:
        text += "\nthe backup of its partition table moves to the end of the disk"
    return text


def _confirm(disk: FoundDisk, yes: str) -> None:
    """Raises DiskRefused unless a person names the disk."""
    if yes:
        if yes != disk.identity:
            raise DiskRefused(f"{disk.path} is {disk.identity}, not {yes}: name the disk that may be overwritten with --yes")
        return
    if not sys.stdin.isatty():
        raise DiskRefused(f"all data on {disk.path} would be lost: confirm it with --yes {disk.identity}")
    _say(f"All data on {disk.path} is lost. To go on, type {disk.identity}:")
    if sys.stdin.readline().strip() != disk.identity:
        raise DiskRefused("not confirmed; nothing was written")


def _report(receipt: dict[str, object], file: str) -> None:
    _say(
        f"deployed: {receipt['BytesWritten']} bytes written, {receipt['BytesZeroed']} zeroed, "
        f"{receipt['BytesReused']} were right before, {receipt['BytesReadBack']} read back"
    )
    if "Warning" in receipt:
        _say(f"{receipt['Warning']}; it does at the next start")
    if file:
        try:
            with open(file, "w", encoding="utf-8") as opened:  # noqa: PTH123  the agent does without pathlib here
                opened.write(json.dumps(receipt, indent=2) + "\n")
        except OSError as error:
            raise ClientError(f"{file}: {error.strerror}; the disk is deployed, only its receipt is not written") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  for people
