"""Other programs that list images over HTTP, for comparison: each from PyPI, in an environment of its own in bench/.cache."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import urllib3
from msgspec import Struct

from bench import servers, wrk
from bench.catalogue import CACHE
from bench.measure import Effort, Told

START_SECONDS = 60


class Peer(Struct, frozen=True):
    """What a program reached, beside the floor that returns its own bytes. Without requests it did not run: see the note."""

    name: str
    requests_per_second: float
    of_floor: float
    note: str


def all_of_them(work: Path, effort: Effort, tell: Told) -> list[Peer]:
    """Measure every peer that can be installed."""
    tell("peers: moto")
    return [_moto(work, effort)]


def _moto(work: Path, effort: Effort) -> Peer:
    """EC2's DescribeImages as moto answers it: 20 images by MaxResults, unsigned checks, one process with threads."""
    name = "moto, EC2 DescribeImages"
    try:
        programs = _environment("moto", "moto[ec2,server]")
    except subprocess.CalledProcessError as error:
        return Peer(name, 0, 0, f"could not be installed: pip ended with {error.returncode}")
    port = servers.free_port()
    command = [str(programs / "moto_server"), "-p", str(port)]
    body = "Action=DescribeImages&Version=2016-11-15&MaxResults=20"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        answer = _wait_for(url, body)
        count = answer.count(b"<imageId>")
        return _measured(name, url, body, answer, f"{count} images, {len(answer):,} bytes; checks no signature", work, effort)
    finally:
        process.terminate()
        process.wait(20)


def _measured(name: str, url: str, body: str, answer: bytes, note: str, work: Path, effort: Effort) -> Peer:
    with servers.bare([answer.replace(b"\n", b" ")], work) as floor:
        pairs = [
            (wrk.post(floor, [body], work, effort.seconds), wrk.post(url, [body], work, effort.seconds))
            for _ in range(effort.rounds)
        ]
    return Peer(
        name,
        statistics.median(ours.requests_per_second for _, ours in pairs),
        statistics.median(ours.requests_per_second / floor.requests_per_second for floor, ours in pairs),
        note,
    )


def _environment(name: str, *packages: str) -> Path:
    """The programs of an environment with these packages."""
    folder = CACHE / "peers" / name
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet", *packages]
        subprocess.run(pip, check=True)
        (folder / "installed").touch()
    return folder / "bin"


def _wait_for(url: str, body: str) -> bytes:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            return urllib3.request("POST", url, body=body.encode(), headers=servers.KIND, retries=False, timeout=30).data
        except urllib3.exceptions.HTTPError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)
