"""Other programs that list images over HTTP, for comparison: each from PyPI, in an environment of its own in bench/.cache."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import urllib3
from msgspec import Struct

from bench import servers, wrk
from bench.catalogue import CACHE
from bench.measure import Announce, Effort
from bench.mixes import PAGE

START_SECONDS = 60
INSTALL_SECONDS = 900
"""Glance has more than a hundred packages."""


class Peer(Struct, frozen=True):
    """The throughput of a program beside its floor. A program without requests did not run; the note says why."""

    name: str
    requests_per_second: float
    of_floor: float
    note: str


def all_of_them(work: Path, effort: Effort, announce: Announce) -> list[Peer]:
    """Measure every peer that can be installed."""
    announce("peers: moto")
    moto = _moto(work, effort)
    announce("peers: Glance, which takes minutes to install the first time")
    return [moto, _glance(work, effort)]


_EC2 = {
    **wrk.FORM,
    "Authorization": "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0",
}
"""Names the service to moto, which checks no signature."""
_ALL = "Action=DescribeImages&Version=2016-11-15"


def _moto(work: Path, effort: Effort) -> Peer:
    """EC2's DescribeImages by moto: 20 images by their ids, because it has no pages."""
    name = "moto, EC2 DescribeImages"
    try:
        programs = _environment("moto", "moto[ec2,server]")
    except subprocess.SubprocessError as error:
        return _not_installed(name, error)
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    with _running([str(programs / "moto_server"), "-p", str(port)], {}):
        ids = sorted(set(re.findall(rb"<imageId>(.*?)</imageId>", _answer("POST", url, _EC2, _ALL))))[:PAGE]
        body = _ALL + "".join(f"&ImageId.{number}={id.decode()}" for number, id in enumerate(ids, 1))
        answer = _answer("POST", url, _EC2, body)
        note = f"{answer.count(b'<imageId>')} images, {len(answer):,} bytes; checks no signature"

        def load() -> wrk.Load:
            return wrk.post(url, [body], work, effort.seconds, headers=_EC2)

        return _beside_floor(name, note, answer, load, work, effort)


_GLANCE = """\
[DEFAULT]
enabled_backends = files:file
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}
[database]
connection = sqlite:///{folder}/glance.sqlite
[paste_deploy]
config_file = {folder}/glance-api-paste.ini
"""
_CALLER = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "bench",
    "X-Project-Id": "bench",
    "X-Roles": "admin,member,reader",
    "Content-Type": "application/json",
}
"""Headers that identify a caller, as the middleware of an identity service sets them in front of Glance."""


def _glance(work: Path, effort: Effort) -> Peer:
    """OpenStack's image service on SQLite: a page of 20 images."""
    name = "Glance, GET /v2/images"
    try:
        programs = _environment("glance", "glance", "granian")
        folder = work / "glance"
        folder.mkdir()
        (folder / "glance-api.conf").write_text(_GLANCE.format(folder=folder))
        paste = (programs.parent / "etc" / "glance" / "glance-api-paste.ini").read_text()
        # Callers are who the headers say, as behind an identity service whose check took no time.
        (folder / "glance-api-paste.ini").write_text(paste.replace("unauthenticated-context rootapp", "context rootapp"))
        make = [str(programs / "glance-manage"), "--config-file", str(folder / "glance-api.conf"), "db_sync"]
        subprocess.run(make, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except subprocess.SubprocessError as error:
        return _not_installed(name, error)
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}/v2/images"
    serve = [str(programs / "granian"), "--interface", "wsgi", "--port", str(port), "glance.wsgi.api:application"]
    with _running(serve, {"OS_GLANCE_CONFIG_DIR": str(folder)}):
        for number in range(PAGE):
            image = f'{{"name":"image {number}","disk_format":"raw","container_format":"bare","visibility":"public"}}'
            _answer("POST", url, _CALLER, image)
        page = f"{url}?limit={PAGE}"
        answer = _answer("GET", page, _CALLER, "")
        found = f"{answer.count(b'disk_format')} images, all that there are, {len(answer):,} bytes"
        note = f"{found}; on SQLite, under the HTTP server that phimage has; checks no token"
        return _beside_floor(name, note, answer, lambda: wrk.get(page, work, effort.seconds, _CALLER), work, effort)


def _beside_floor(name: str, note: str, answer: bytes, load: Callable[[], wrk.Load], work: Path, effort: Effort) -> Peer:
    with servers.bare([answer.replace(b"\n", b" ")], work) as floor:
        pairs = [(wrk.post(floor, ["x=y"], work, effort.seconds), load()) for _ in range(effort.rounds)]
    return Peer(
        name,
        statistics.median(ours.requests_per_second for _, ours in pairs),
        statistics.median(ours.requests_per_second / floor.requests_per_second for floor, ours in pairs),
        note,
    )


def _not_installed(name: str, error: subprocess.SubprocessError) -> Peer:
    return Peer(name, 0, 0, f"could not be installed: {error}")


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env={**os.environ, **environment}) as process:
        try:
            yield
        finally:
            process.terminate()


def _environment(name: str, *packages: str) -> Path:
    """The programs of an environment with these packages. Raises SubprocessError."""
    folder = CACHE / "peers" / name
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=INSTALL_SECONDS)
        pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet", *packages]
        subprocess.run(pip, check=True, timeout=INSTALL_SECONDS, stderr=subprocess.DEVNULL)
        (folder / "installed").touch()
    return folder / "bin"


def _answer(method: str, url: str, headers: Mapping[str, str], body: str) -> bytes:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            answer = urllib3.request(method, url, body=body.encode(), headers=headers, retries=False, timeout=30)
        except urllib3.exceptions.HTTPError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)
            continue
        if answer.status >= 300:
            raise RuntimeError(f"a peer answered {answer.status}: {answer.data[:300]!r}")
        return answer.data
