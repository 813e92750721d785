"""Glance, OpenStack's image service, beside phimage: from PyPI, in an environment of its own, on SQLite and a folder.

It answers behind granian, a WSGI server in Rust, with one process, and trusts the header fields that an identity service
would set, so no time goes into who asks. An upload is one PUT: hashed while it is written, neither examined, cut nor synced.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import urllib3

from bench import servers
from bench.figures import CACHE

INSTALL_SECONDS = 900
"""It has more than a hundred packages."""

_CONFIG = """\
[DEFAULT]
enabled_backends = files:file
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {folder}/images
[database]
connection = sqlite:///{folder}/glance.sqlite
[paste_deploy]
config_file = {folder}/glance-api-paste.ini
"""
CALLER = {
    "X-Identity-Status": "Confirmed",
    "X-User-Id": "bench",
    "X-Project-Id": "bench",
    "X-Roles": "admin,member,reader",
}


class NotInstalled(Exception):
    """Glance could not be installed, for a reason that the text names."""


@contextmanager
def glance(folder: Path) -> Iterator[str]:
    """The address of its list of images. Raises NotInstalled."""
    programs = _environment("glance", "granian")
    (folder / "images").mkdir(parents=True)
    (folder / "glance-api.conf").write_text(_CONFIG.format(folder=folder))
    paste = (programs.parent / "etc" / "glance" / "glance-api-paste.ini").read_text()
    (folder / "glance-api-paste.ini").write_text(paste.replace("unauthenticated-context rootapp", "context rootapp"))
    make: list[str | Path] = [programs / "glance-manage", "--config-file", folder / "glance-api.conf", "db_sync"]
    subprocess.run(make, check=True, timeout=INSTALL_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}/v2/images"
    serve = [str(programs / "granian"), "--interface", "wsgi", "--port", str(port), "glance.wsgi.api:application"]
    with (
        (folder / "log").open("w") as log,
        servers.running(serve, {"OS_GLANCE_CONFIG_DIR": str(folder)}, stdout=log, stderr=log),
    ):
        servers.wait_until(lambda: _is_up(url))
        yield url


def new_image(url: str, disk_format: str) -> str:
    """The address of the bytes of a new image."""
    image = {"name": "bench", "disk_format": disk_format, "container_format": "bare", "visibility": "public"}
    headers = {**CALLER, "Content-Type": "application/json"}
    answer = urllib3.request("POST", url, body=msgspec.json.encode(image), headers=headers, retries=False, timeout=30)
    if answer.status != 201:
        raise RuntimeError(f"Glance answered {answer.status}: {answer.data[:300]!r}")
    return f"{url}/{msgspec.json.decode(answer.data)['id']}/file"


def header_options() -> list[str]:
    """The options of curl for a caller."""
    return [part for name, value in CALLER.items() for part in ("-H", f"{name}: {value}")]


def _environment(*packages: str) -> Path:
    """The programs of an environment with these packages."""
    folder = CACHE / "peers" / packages[0]
    if not (folder / "installed").exists():
        pip: list[str | Path] = [folder / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet", *packages]
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, timeout=INSTALL_SECONDS)
            subprocess.run(pip, check=True, timeout=INSTALL_SECONDS, capture_output=True, text=True, env=dict(os.environ))
        except subprocess.CalledProcessError as error:
            raise NotInstalled((error.stderr or str(error)).strip().splitlines()[-1]) from None
        except subprocess.TimeoutExpired:
            raise NotInstalled(f"it took more than {INSTALL_SECONDS} s") from None
        (folder / "installed").touch()
    return folder / "bin"


def _is_up(url: str) -> bool:
    try:
        return urllib3.request("GET", url, headers=CALLER, retries=False, timeout=5).status == 200
    except urllib3.exceptions.HTTPError:
        return False
