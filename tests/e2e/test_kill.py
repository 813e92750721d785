"""`kill -9` to the server while a big catalogue is applied: the old one is left or the new one, never a mix."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.conftest import Serve, starter
from tests.e2e.process import Key, Phimage, Server
from tests.torture.length import lengths

pytestmark = pytest.mark.more

ROUNDS = 4
REPLACED = 100
SEED = 20261101


def big(generation: int, images: int) -> str:
    """Many images. From one generation to the next a hundred go, a hundred come, and every tenth is changed."""
    first = REPLACED * generation
    return "".join(_image(number, generation if number % 10 == 0 else 0) for number in range(first, first + images))


def _image(number: int, generation: int) -> str:
    return f"""\
  - id: pimg-big-{number:05}
    name: Big {number}
    family: a-big-one
    os_type: Debian
    os_name: Debian 13
    description: as of generation {generation}
    size: 20
    created: "2026-11-01T00:00:00Z"
    zones: [cn-bj2-02]
    support: {{Base-SSD-V5: [25G], DB-2: [1G, 10G]}}
"""


def exported(server: Server, key: Key) -> str:
    with Client(server.url, key.public, PrivateKey(key.private)) as client:
        text: str = client.call("ExportCatalog").fields["Catalog"]
        return text


@lengths("images", 800, 3000)
def test_a_server_killed_while_a_catalogue_is_applied_leaves_the_old_or_the_new_one(
    serve: Serve, tmp_path: Path, images: int
) -> None:
    file = tmp_path / "catalog.yaml"
    with serve() as server:
        key = server.new_key
        assert key is not None
        cli = Phimage(tmp_path / "cli").using(server.url, key)
        cli.well("catalog", "apply", "-", text=starter() + big(0, images))
        before, found, after = exported(server, key).partition(big(0, images))
        assert found, "the images are written here as an export writes them"

        def text(generation: int) -> str:
            return before + big(generation, images) + after

        file.write_text(text(1))
        started = time.monotonic()
        cli.well("catalog", "apply", "--prune", "--yes", str(REPLACED), str(file))
        duration = time.monotonic() - started

    random_delays = random.Random(SEED)
    generation, told, lost = 1, False, 0
    for round in range(ROUNDS + 1):
        with serve() as server:
            assert server.new_key is None
            catalogue = exported(server, key)
            if round:
                assert catalogue in (text(generation), text(generation + 1)), f"round {round} left a mix"
                new = catalogue == text(generation + 1)
                assert new or not told, f"round {round} lost what it had said is done"
                generation, lost = generation + new, lost + (not new)
            if round == ROUNDS:
                break
            file.write_text(text(generation + 1))
            applying = cli.using(server.url, key).start("catalog", "apply", "--prune", "--yes", str(REPLACED), str(file))
            time.sleep((round + random_delays.random()) / ROUNDS * duration)
            server.kill()
            out, err = applying.communicate(timeout=60)
            told = applying.returncode == 0
            assert told or (applying.returncode, out) == (69, ""), err
            assert told or err.startswith(f"phimage: no answer from {server.url}: ")
    assert lost, "no kill came before the end of an apply"
