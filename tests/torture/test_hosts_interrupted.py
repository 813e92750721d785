"""Hosts are deployed and captured while the server is killed and its database and its store are cut off."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import shared
from tests.contract import stores
from tests.contract.stores import KEYS, S3Server
from tests.deploying import loop_device, needs_loop_devices
from tests.e2e.conftest import Installation, starter
from tests.e2e.process import DESCRIBED, Phimage, Server, wait_until
from tests.e2e.rack import Host, Rack, agent, machine
from tests.images.kept import run
from tests.postgresql import PostgreSQL
from tests.proxy import Proxy, unix

MIB = 1 << 20
SERIAL = "PHIMAGE-CUTS"
SIZE = 512
DATA = 384
AWAY_SECONDS = 3.0
CUTS = 9
"""In each direction; the server, the database and the store take turns."""

s3 = stores.s3


class Datacenter:
    """A server on PostgreSQL and S3, both behind proxies."""

    def __init__(self, database: Proxy, store: Proxy, home: Phimage, database_url: str) -> None:
        self._database, self._store, self._home = database, store, home
        self._arguments = ("serve", "--data-dir", "data", "--database", database_url)
        self.server = Server(home, *self._arguments, "--port", "0")
        assert self.server.new_key is not None
        phimage = home.using(self.server.url, self.server.new_key)
        self.installation = Installation(self.server, self.server.new_key, phimage)
        phimage.well("catalog", "apply", "-", text=starter())

    def kill_server(self) -> None:
        """Kill the server with its workers and publisher, and start it again on the same port."""
        port = self.server.url.rpartition(":")[2]
        self.server.kill()
        time.sleep(AWAY_SECONDS)
        self.server = Server(self._home, *self._arguments, "--port", port)

    def lose_database(self) -> None:
        """Cut the database off for a while."""
        self._cut_off(self._database)

    def lose_store(self) -> None:
        """Cut the store off for a while."""
        self._cut_off(self._store)

    def _cut_off(self, proxy: Proxy) -> None:
        proxy.refuse()
        time.sleep(AWAY_SECONDS)
        proxy.allow()


@pytest.fixture
def datacenter(postgresql: PostgreSQL, s3: S3Server, tmp_path: Path) -> Iterator[Datacenter]:
    database, store = Proxy(unix(postgresql.socket)), Proxy(unix(str(shared.server("s3", stores.start) / "s3.sock")))
    address = s3.new_address().replace(s3.endpoint, f"http://127.0.0.1:{store.port}")
    home = Phimage(tmp_path / "home", PHIMAGE_PUBLISHERS="1", PHIMAGE_STORE=address, **KEYS)
    url = f"postgresql://postgres@127.0.0.1:{database.port}/{postgresql.create()}"
    found = Datacenter(database, store, home, url)
    yield found
    found.server.stop()
    database.close()
    store.close()


def interrupt(datacenter: Datacenter, is_over: Callable[[], bool], seed: int) -> int:
    """Interrupt the server, the database and the store in turn until the work is over. Returns how often."""
    drawn = random.Random(seed)
    for number in range(CUTS):
        ends = time.monotonic() + drawn.uniform(0.2, 1.5)
        while time.monotonic() < ends:
            if is_over():
                return number
            time.sleep(0.1)
        (datacenter.kill_server, datacenter.lose_database, datacenter.lose_store)[number % 3]()
    return CUTS


def row(rack: Rack, host: Host) -> dict[str, Any]:
    """The row of a host, of a server that may be starting or without its database."""
    shown = rack.operator.execute("host", "show", host.id, "--json")
    if shown.code:
        return {"State": "unknown"}
    return rack.row(host)


def made_disk(path: Path) -> Path:
    """A disk with a partition table and bytes that do not compress."""
    drawn = random.Random(16)
    with path.open("wb") as file:
        file.write(bytes(MIB))
        for _ in range(DATA):
            file.write(drawn.randbytes(MIB))
        file.truncate(SIZE * MIB)
    run("sfdisk", "-q", path, text=f"label: gpt\nstart=1MiB, size={SIZE - 2}MiB\n")
    return path


@needs_loop_devices
@pytest.mark.torture
def test_a_host_is_deployed_and_captured_whatever_is_killed_meanwhile(datacenter: Datacenter, tmp_path: Path) -> None:
    rack, hardware = Rack(datacenter.installation), machine(SERIAL)
    original = made_disk(tmp_path / "original")
    base = rack.operator.well("image", "publish", str(original), "--trust-first-use", *DESCRIBED).strip()
    target = tmp_path / "target"
    with target.open("wb") as file:
        for _ in range(SIZE):
            file.write(b"\xaa" * MIB)
    with loop_device(target) as device:
        host = rack.register(SERIAL, hardware.macs[0], f"path:{device}")
        with agent(datacenter.server.url, host, SERIAL, tmp_path / "agent.log") as process:
            rack.wait_for(host, "Free")
            rack.operator.well("host", "assign", host.id, rack.project)

            rack.owner.well("host", "reinstall", host.id, base, "--yes")
            deploying = interrupt(datacenter, lambda: row(rack, host)["State"] in ("Rescue", "Failed"), 1)
            wait_until(lambda: row(rack, host)["State"] in ("Rescue", "Failed"), 300)
            said = (tmp_path / "agent.log").read_text()
            assert row(rack, host)["State"] == "Rescue", said
            assert deploying >= 3, said
            subprocess.run(["blockdev", "--flushbufs", device], check=True)
            assert run("cmp", original, target) == ""

            drawn = random.Random(18)
            with Path(device).open("r+b") as disk:
                for place in range(8, 200):
                    disk.seek(place * MIB)
                    disk.write(drawn.randbytes(MIB))
            captured = rack.owner.well("host", "capture", host.id, "captured").strip()
            capturing = interrupt(datacenter, lambda: row(rack, host)["State"] in ("Rescue", "Failed"), 2)
            rack.wait_for_image(captured)
            assert capturing >= 3, (tmp_path / "agent.log").read_text()
            assert process.poll() is None
    url = rack.owner.well("image", "url", captured).strip()
    run("curl", "-sSf", "-o", tmp_path / "captured", url)
    assert run("cmp", target, tmp_path / "captured") == ""
