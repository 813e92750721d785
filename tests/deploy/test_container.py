"""The container's files: linted, without root and without a name of a registry, and a health check that finds what is wrong."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from phimage.cli import phimage
from tests.deploy.unit import DEPLOY, ROOT
from tests.uploading import port_of, reserved_port

CONTAINERFILE = (DEPLOY / "Containerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
PAGE = ROOT / "docs/how-to/behind-a-proxy.md"


@pytest.mark.skipif(HADOLINT is None, reason="hadolint has no package for this machine")
def test_the_containerfile_has_no_finding() -> None:
    ended = subprocess.run([str(HADOLINT), str(DEPLOY / "Containerfile")], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_the_container_starts_from_a_tag_and_not_as_root() -> None:
    bases = re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE)

    assert [base for base in bases if not re.fullmatch(r"debian:\d+(\.\d+)?-slim", base)] == []
    assert re.findall(r"^USER (.+)$", CONTAINERFILE, re.MULTILINE) == ["10001:10001"]


def test_the_container_copies_what_there_is_and_what_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = [word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE) for word in line.split()]

    assert "src" in copied
    assert [name for name in copied if not (ROOT / name).exists() or f"!{name.split('/')[0]}" not in ignored] == []


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_has_a_read_only_root_no_capabilities_and_a_command_that_there_is(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert CliRunner().invoke(phimage, [*service["command"], "--help"]).exit_code == 0


def test_no_file_names_a_registry() -> None:
    hosts = r"pypi|docker\.io|quay|ghcr|registry|deb\.debian|npmjs|index-url"
    assert [path.name for path in DEPLOY.rglob("*") if path.is_file() and re.search(hosts, path.read_text("utf-8"))] == []


@pytest.mark.parametrize(("language", "name"), [("nginx", "nginx.conf"), ("caddy", "Caddyfile")])
def test_a_proxys_file_is_the_block_of_its_page(language: str, name: str) -> None:
    block = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)

    assert block is not None
    assert (DEPLOY / name).read_text("utf-8") == block[1]


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server that answers /healthz with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def health(port: int) -> int:
    """The exit code of the health check of a server at a port."""
    found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1].replace("8080", str(port)))
    assert program == "python3"
    return subprocess.run([sys.executable, *arguments], stderr=subprocess.DEVNULL, check=False).returncode


def test_the_health_check_finds_a_server_that_does_not_answer_well() -> None:
    with answering(200) as port:
        assert health(port) == 0
    with reserved_port() as nobody:
        assert health(port_of(nobody)) != 0, "nothing listens there"
    with answering(500) as port:
        assert health(port) != 0


def test_the_entry_of_the_container_is_phimage() -> None:
    entry = re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", CONTAINERFILE, re.MULTILINE)
    assert shlex.join(word for words in entry for word in json.loads(words)) == "phimage serve"
