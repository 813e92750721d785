"""What a command imports: nothing that it does not need, because imports take most of its time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.site import Site
from tests.e2e.process import Phimage

RUN = "import sys; from phimage.cli import main\ntry: main(sys.argv[1:])\nfinally: print(*sys.modules, file=sys.stderr)"
START = """
import sys
from phimage.cli import serve
from phimage.installation import prepare
from phimage.processes import server
from phimage.settings import Settings
prepare(Settings(data_dir=sys.argv[1]))
print(*sys.modules, file=sys.stderr)
"""
CONSOLE = """
import asyncio, sys
from phimage.application import build_app
from phimage.installation import prepare
from phimage.settings import Settings
settings = Settings(data_dir=sys.argv[1])
prepare(settings)
app = build_app(settings, lambda: None)
print(*sys.modules)
async def receive():
    return {"type": "http.request", "body": b""}
async def send(message):
    pass
page = {"type": "http", "method": "GET", "path": "/console/", "raw_path": b"/console/", "query_string": b"", "headers": []}
asyncio.run(app({**page, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80), "scheme": "http"}, receive, send))
print(*sys.modules)
"""
HEAVY = {"alembic", "cryptography", "multiprocessing", "rich.console", "rich.table", "sqlalchemy", "urllib3", "uvloop", "yaml"}


def imported(environment: dict[str, str] | None, *arguments: str) -> set[str]:
    ended = subprocess.run([sys.executable, "-c", *arguments], env=environment, capture_output=True, text=True, check=True)
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("command", [("image", "ls"), ("image", "ls", "-o", "wide"), ("--help",)], ids=" ".join)
def test_a_list_of_images_needs_no_large_library(site: Site, tmp_path: Path, command: tuple[str, ...]) -> None:
    tenant = Phimage(tmp_path).using(site.server.url, site.keys["tenant"])

    assert imported(tenant.environment, RUN, *command) & HEAVY == set()


def test_a_first_start_needs_no_migrations_and_no_driver_of_another_database(tmp_path: Path) -> None:
    found = imported(None, START, str(tmp_path / "data"))

    drivers = {"prometheus_client", "psycopg", "sqlalchemy.dialects.postgresql"}
    assert found & (HEAVY - {"cryptography", "sqlalchemy", "uvloop"} | drivers) == set()
    assert "phimage.application" in found


def test_nothing_of_the_console_is_imported_before_its_first_request(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", CONSOLE, str(tmp_path / "data")], capture_output=True, text=True, check=True)
    before, after = (set(line.split()) for line in ended.stdout.splitlines())

    of_console = {"jinja2", "markupsafe", "phimage.console"}
    assert before & of_console == set()
    assert [name for name in before if name.startswith("phimage.console.")] == []
    assert of_console <= after
