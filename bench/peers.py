"""Other programs that list images over HTTP, for comparison: each from PyPI, in an environment of its own in bench/.cache."""

from __future__ import annotations

import re
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
from bench.mixes import PAGE

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


_EC2 = {
    **wrk.FORM,
    "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0",
}
"""What tells moto which service is meant. It checks no signature."""
_ALL = "Action=DescribeImages&Version=2016-11-15"


def _moto(work: Path, effort: Effort) -> Peer:
    """EC2's DescribeImages as moto answers it: 20 images by their ids, for it knows no pages."""
    name = "moto, EC2 DescribeImages"
    try:
        programs = _environment("moto", "moto[ec2,server]")
    except subprocess.CalledProcessError as error:
        return Peer(name, 0, 0, f"could not be installed: {error.cmd[0]} ended with {error.returncode}")
    port = servers.free_port()
    command = [str(programs / "moto_server"), "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            ids = sorted(set(re.findall(rb"<imageId>(.*?)</imageId>", _answer(url, _ALL))))[:PAGE]
            body = _ALL + "".join(f"&ImageId.{number}={id.decode()}" for number, id in enumerate(ids, 1))
            answer = _answer(url, body)
            count = answer.count(b"<imageId>")
            with servers.bare([answer.replace(b"\n", b" ")], work) as floor:
                pairs = [
                    (
                        wrk.post(floor, [body], work, effort.seconds),
                        wrk.post(url, [body], work, effort.seconds, headers=_EC2),
                    )
                    for _ in range(effort.rounds)
                ]
        finally:
            process.terminate()
    return Peer(
        name,
        statistics.median(ours.requests_per_second for _, ours in pairs),
        statistics.median(ours.requests_per_second / floor.requests_per_second for floor, ours in pairs),
        f"{count} images, {len(answer):,} bytes; checks no signature",
    )


def _environment(name: str, *packages: str) -> Path:
    """The programs of an environment with these packages. Raises CalledProcessError."""
    folder = CACHE / "peers" / name
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet", *packages]
        subprocess.run(pip, check=True)
        (folder / "installed").touch()
    return folder / "bin"


def _answer(url: str, body: str) -> bytes:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            return urllib3.request("POST", url, body=body.encode(), headers=_EC2, retries=False, timeout=30).data
        except urllib3.exceptions.HTTPError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)
