"""`phimage-agent capture`: a person captures the disk of this machine, to a server or to a file."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from phimage.agent.capture import capture_to_file, capture_to_server
from phimage.agent.captured_disk import CapturedDisk
from phimage.agent.disk_choice import choose_disk, open_disk
from phimage.agent.disks import find_disks
from phimage.agent.progress_line import ProgressLine
from phimage.agent.refusals import refuse_busy
from phimage.agent.server_link import MAX_ANSWER
from phimage.agent.upload_requests import UploadRefused, UploadRequests
from phimage.chunk_upload import SendProgress
from phimage.errors import ClientError
from phimage.http_client import ApiConnections

TIMEOUT = 120.0
"""The longest pause of a response to an upload, in seconds: a chunk is durable before it is answered."""


class CaptureInterrupted(ClientError):
    """A capture was interrupted from the keyboard."""

    exit_code = 130


def capture(given: argparse.Namespace) -> int:
    """Capture a disk. What it prints on standard output is for programs: the SHA-256 of a file."""
    line = ProgressLine(sys.stderr)
    disks = find_disks()
    disk = choose_disk(disks, given.disk)
    refuse_busy(replace(disk, read_only=False), disks)

    def on_progress(progress: SendProgress) -> None:
        line.show("capture", progress.done, progress.total)

    with open_disk(disk, find_disks, writable=False) as device:
        captured = CapturedDisk(device, trim=given.trim)
        trimmed = f", trimmed to {captured.size}" if captured.size < device.size else ""
        _say(f"disk   {disk.path}, {disk.model or 'no model'}, {disk.identity}, {device.size} bytes{trimmed}; it is only read")
        try:
            if "://" in given.to:
                _send(captured, given, line)
            else:
                made = capture_to_file(captured, given.to, on_progress)
                line.end()
                _say(f"captured: {made.size} bytes, of which {made.written} are in {given.to}")
                print(f"{made.sha256}  {given.to}")  # noqa: T201  the output of the command
        except KeyboardInterrupt:
            line.end()
            raise CaptureInterrupted("interrupted: run the same again; a server has what was sent") from None
        finally:
            line.end()
    return 0


def _send(disk: CapturedDisk, given: argparse.Namespace, line: ProgressLine) -> None:
    def open_url(expired: str) -> str:
        if expired:
            raise UploadRefused("the ticket in the address of the upload has expired: get a new one, and run the same with it")
        return str(given.to)

    connections = ApiConnections(TIMEOUT, given.ca, MAX_ANSWER)
    started = time.monotonic()
    with UploadRequests(open_url, connections, patience=given.patience) as requests:
        sent = capture_to_server(disk, requests, lambda progress: line.show("capture", progress.done, progress.total))
    connections.close()
    line.end()
    chunks = f"{sent.new_chunks} of {sent.chunks} chunks sent, {sent.sent} bytes"
    _say(f"captured: {sent.size} bytes, {chunks}, in {time.monotonic() - started:.0f} s")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  for people
