"""Three servers on one PostgreSQL, each behind a proxy of its own; and what happens to them."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import urllib3

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.process import Key, Phimage, Server
from tests.postgresql import PostgreSQL
from tests.proxy import Proxy, unix

IMAGES = 20
ENOUGH_SECONDS = 60

CATALOGUE = """\
phimage: 1
clusters:
  - {id: 25G, description: "", default: true}
regions:
  - id: cn-bj2
    number: 1000002
    name: {zh: Beijing, en: Beijing}
    default: true
    zones:
      - {id: cn-bj2-02, name: {zh: B, en: B}}
machine_types:
  - id: DB-2
    name: {zh: DB-2, en: DB-2}
    disk_class: LocalDisk
    cpu: {model: E5, frequency: "2.4", count: 2, cores: 32}
    memory: 64
    disks:
      - {role: system, type: SATA, size: 1000, count: 2, raid: RAID1}
    raid_supported: true
    scenes: [general]
    offers:
      cn-bj2-02: {25G: 3}
images:
"""


def catalogue(generation: int) -> str:
    """All images of one generation: one apply changes every one of them."""
    return CATALOGUE + "".join(
        f"""\
  - id: pimg-cs-{number:04}
    name: Image {number}
    family: family-{number}
    os_type: Debian
    os_name: Debian 13
    description: "{generation}"
    size: 20
    created: "2026-11-01T00:00:00Z"
    zones: [cn-bj2-02]
    support: {{DB-2: [25G]}}
"""
        for number in range(IMAGES)
    )


class Change(NamedTuple):
    """An apply that was answered well, and when."""

    server: int
    revision: int
    generation: int
    answered: float


class Seen(NamedTuple):
    """A list, and when it was asked for. `generations` are all that are in it."""

    server: int
    asked: float
    revision: int
    age: int | None
    generations: frozenset[int]


class Replica:
    """One server. It can be killed and started again, on another port then."""

    def __init__(self, number: int, home: Phimage, proxy: Proxy, database: str) -> None:
        self.number = number
        self.proxy = proxy
        self._home = home
        self._database = f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}"
        self._server = self._start()

    def _start(self) -> Server:
        return Server(self._home, "serve", "--port", "0", "--data-dir", "data", "--database", self._database)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def key(self) -> Key | None:
        return self._server.new_key

    def pause(self, seconds: float) -> None:
        """Stop all of it and let it go on."""
        self._server.signal_all(signal.SIGSTOP)
        time.sleep(seconds)
        self._server.signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it and start it again."""
        self._server.kill()
        self._server = self._start()

    def stop(self) -> None:
        self._server.stop()


class Run:
    """Writers and readers at all servers, and someone who breaks things, for some seconds."""

    def __init__(self, postgresql: PostgreSQL, folder: Path, seed: int) -> None:
        self.changes: list[Change] = []
        self.seen: list[Seen] = []
        self.refused = 0
        self.faults: list[str] = []
        self.mistakes: list[str] = []
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._http = urllib3.PoolManager(num_pools=100, maxsize=8, retries=False, timeout=30)
        self._generations = iter(range(1, 10**9))
        self._lock = threading.Lock()
        self._proxies = [Proxy(unix(postgresql.socket)) for _ in range(3)]
        database = postgresql.create()
        self.database_url = postgresql.url(database)
        home = Phimage(folder / "home", PHIMAGE_PUBLISHERS="0")
        self.replicas: list[Replica] = []
        for number, proxy in enumerate(self._proxies):
            self.replicas.append(Replica(number, home, proxy, database))
        key = self.replicas[0].key
        assert key is not None
        self._signer = Client("http://127.0.0.1", key.public, PrivateKey(key.private))
        self.change(0, 0.0)

    def for_seconds(self, seconds: float, changes: int, lists: int) -> None:
        """Do it, also for longer until there were so many changes and lists, and end when everything is well again."""
        works = [(self._write, number) for number in range(3)] + [(self._read, number) for number in range(3)]
        threads = [threading.Thread(target=self._guarded, args=work) for work in works]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + seconds
        try:
            while time.monotonic() < ends or len(self.changes) < changes or len(self.seen) < lists:
                assert time.monotonic() < ends + ENOUGH_SECONDS, "too little was done"
                time.sleep(self._random.uniform(0.2, 1.0))
                self._break_something()
            time.sleep(3)
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def stop(self) -> None:
        for replica in self.replicas:
            replica.stop()
        for proxy in self._proxies:
            proxy.close()

    def change(self, server: int, pause: float) -> None:
        """Apply a generation at a server. When that went well, list there at once: the change must be in it."""
        with self._lock:
            generation = next(self._generations)
        fields, revision, _ = self._ask(server, "ApplyCatalog", Catalog=catalogue(generation))
        if fields is None or fields["RetCode"] != 0 or revision is None:
            if fields is not None and fields["RetCode"] != 150:
                self.mistakes.append(f"an apply was refused: {fields}")
            self.refused += 1
            time.sleep(0.1)
            return
        self.changes.append(Change(server, fields["Revision"], generation, time.monotonic()))
        seen = self.list(server)
        if seen is not None and seen.revision < fields["Revision"]:
            self.mistakes.append(f"{seen} does not have revision {fields['Revision']}, which was made there")
        time.sleep(pause)

    def list(self, server: int) -> Seen | None:
        """All images, at a server; None when it refused."""
        asked = time.monotonic()
        fields, revision, age = self._ask(server, "DescribePHostImage", Region="cn-bj2", Zone="cn-bj2-02", Limit=1000)
        if fields is None or fields["RetCode"] != 0 or revision is None:
            return None
        images = fields["ImageSet"]
        if len(images) != IMAGES:
            self.mistakes.append(f"{len(images)} images at revision {revision}")
        seen = Seen(server, asked, revision, age, frozenset(int(image["ImageDescription"]) for image in images))
        self.seen.append(seen)
        return seen

    def _guarded(self, work: Any, server: int) -> None:
        try:
            work(server)
        except Exception as error:
            self.mistakes.append(repr(error))
            raise

    def _write(self, server: int) -> None:
        chance = random.Random(server)
        while not self._over.is_set():
            self.change(server, chance.uniform(0, 0.3))

    def _read(self, server: int) -> None:
        chance = random.Random(100 + server)
        while not self._over.is_set():
            self.list(server)
            time.sleep(chance.uniform(0, 0.02))

    def _ask(self, server: int, action: str, **params: Any) -> tuple[dict[str, Any] | None, int | None, int | None]:
        request = self._signer.prepare(action, **params)
        try:
            url = self.replicas[server].url + request.url.removeprefix(self._signer.endpoint)
            answer = self._http.request("POST", url, body=request.body, headers=request.headers)
        except urllib3.exceptions.HTTPError:
            return None, None, None
        revision, age = answer.headers.get("x-phimage-revision"), answer.headers.get("x-phimage-age")
        return json.loads(answer.data), int(revision) if revision else None, int(age) if age else None

    def _break_something(self) -> None:
        replica = self._random.choice(self.replicas)
        fault = self._random.choice(("cut", "cut", "stall", "refuse", "pause", "pause", "kill"))
        self.faults.append(fault)
        match fault:
            case "cut":
                replica.proxy.cut()
            case "stall":
                replica.proxy.stall()
                time.sleep(self._random.uniform(0.2, 3))
                replica.proxy.flow()
            case "refuse":
                replica.proxy.refuse()
                time.sleep(self._random.uniform(0.2, 2))
                replica.proxy.allow()
            case "pause":
                replica.pause(self._random.uniform(0.2, 2))
            case "kill":
                replica.kill()
