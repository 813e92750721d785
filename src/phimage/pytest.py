"""The pytest plugin: one endpoint for a run, and a world of it for each test that asks for `phimage`.

It is loaded in every run of its environment, so it imports pytest and the standard library alone; the endpoint starts when the
first test needs it, and the workers of pytest-xdist share it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest  # docs/decisions.md#the-plugin-imports-pytest-alone

if TYPE_CHECKING:
    from phimage.client import Client

START_SECONDS = 60.0
_READY, _PID, _LOG, _LOCK = "phimage-ci.env", "phimage-ci.pid", "phimage-ci.log", "phimage-ci.lock"


class PhimageKeys(NamedTuple):
    """A key pair."""

    public: str
    private: str


class PhimageCall(NamedTuple):
    """A call of a world's journal. `ret_code` and `status` are None where no answer was sent; `params` are masked."""

    number: int
    time: float
    method: str
    path: str
    action: str
    params: dict[str, Any]
    faults: list[str]
    signature: str
    status: int | None
    ret_code: int | None
    request_id: str
    revision: int | None


class PhimageServer:
    """The endpoint of a run."""

    def __init__(self, url: str, variables: Mapping[str, str]) -> None:
        self.url = url
        self.region, self.zone = variables["PHIMAGE_REGION"], variables["PHIMAGE_ZONE"]
        self.project = variables["PHIMAGE_PROJECT"]
        self.keys = {name: PhimageKeys(**pair) for name, pair in self.request("GET", "/ci/ready")["keys"].items()}

    def request(self, method: str, path: str, body: bytes = b"") -> Any:
        """The answer of a request that controls the endpoint. Raises AssertionError with the reason of a refusal."""
        from http.client import HTTPConnection
        from urllib.parse import urlsplit

        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=START_SECONDS)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            fields = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise AssertionError(f"{method} {path}: {fields.get('Message')}: {fields.get('Detail')}")
        return fields


class PhimageClock:
    """The clock of a world: frozen until it is moved."""

    def __init__(self, world: PhimageWorld) -> None:
        self._world = world

    @property
    def now(self) -> datetime:
        """The time there."""
        return datetime.fromtimestamp(self._world.ask("clock")["now"], UTC)

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> datetime:
        """Move it on, and return the new time."""
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self._moved(advance=step.total_seconds())

    def set(self, at: datetime) -> datetime:
        """Move it to a later time, which has its zone."""
        return self._moved(set=at.isoformat())

    def run(self, running: bool = True) -> datetime:
        """Let it go on by itself, or freeze it."""
        return self._moved(run=running)

    def _moved(self, **fields: object) -> datetime:
        return datetime.fromtimestamp(self._world.tell("clock", **fields)["now"], UTC)


class PhimageWorld:
    """A world of the endpoint: a catalogue, a clock, faults and a journal that no other test sees."""

    def __init__(self, server: PhimageServer, name: str) -> None:
        self.name = name
        self.server = server
        self.url = f"{server.url}/w/{name}"
        self.keys = server.keys["demo"]
        self.region, self.zone, self.project = server.region, server.zone, server.project
        self.clock = PhimageClock(self)

    def fault(self, what: str, *, action: str = "", first: int = 0, every: int = 0, nth: int = 0) -> None:
        """Strike requests, such as `fault("ret-153", action="DescribePHostImage", first=2)`."""
        turns = [f":{name}={number}" for name, number in (("first", first), ("every", every), ("nth", nth)) if number]
        self.tell("fault", rule=what + (f"@{action}" if action else "") + "".join(turns))

    def clear_faults(self) -> None:
        """Strike nothing any more."""
        self.tell("fault", clear=True)

    def url_with(self, *rules: str) -> str:
        """A URL of this world whose users alone meet faults, such as `url_with("lost@PublishPHostImage:nth=1")`."""
        return f"{self.url}/fault/{','.join(rules)}"

    def journal(self, action: str = "") -> list[PhimageCall]:
        """The calls of an Action, or all, oldest first."""
        return [PhimageCall(**call) for call in self.ask("journal" + (f"?action={action}" if action else ""))["calls"]]

    def transition(self, transition: object, image: str = "", *, host: str = "") -> None:
        """Let images and hosts, or one, follow `"immediate"`, `"stuck"`, `{"time": "5m"}`, `{"looks": 3}`, `{"fail": "…"}`."""
        named = {name: value for name, value in (("image", image), ("host", host)) if value}
        self.tell("transition", transition=transition, **named)

    def boot(self, host: str, system: str = "rescue") -> str:
        """Boot the rescue system of a scripted host of a seed, or switch it `off`, and return its id."""
        return str(self.tell("host", host=host, boot=system)["host"])

    def seed(self, seed: str | Path) -> None:
        """Write a seed, the text or the path of a file, over what is there."""
        text = seed.read_text("utf-8") if isinstance(seed, Path) else seed
        self.server.request("POST", f"/ci/w/{self.name}/seed", text.encode())

    def key(self, account: str = "demo", **described: str) -> PhimageKeys:
        """Make a key of an account, of a sub-user with `user`, `role` and `project`, or a given one: `public`, `private`."""
        return PhimageKeys(**self.tell("key", account=account, **described))

    def state(self) -> dict[str, Any]:
        """Images, jobs, faults, transitions and the revision, without a request to the world."""
        return dict(self.ask("state"))

    def reset(self) -> None:
        """Begin anew: catalogue, bytes, clock, faults, transitions and journal."""
        self.tell("reset")

    def client(self, keys: PhimageKeys | None = None, **config: Any) -> Any:
        """A client of the UCloud SDK for Python, with more of its configuration. Raises ImportError without it."""
        try:
            from ucloud.client import Client
        except ImportError:
            raise ImportError("phimage.client() needs the SDK: pip install ucloud-sdk-python3") from None
        pair = keys or self.keys
        own = {"base_url": self.url, "region": self.region, "project_id": self.project}
        return Client({**own, "public_key": pair.public, "private_key": pair.private, **config})

    @property
    def operator(self) -> Client:
        """A client with a key of the operator, which signs with version 2: `operator.call("PublishPHostImage", Name=...)`."""
        from phimage.client import Client
        from phimage.model.account import PrivateKey

        pair = self.server.keys["operator"]
        return Client(self.url, pair.public, PrivateKey(pair.private))

    def ask(self, what: str) -> Any:
        """What the endpoint says of this world: `journal`, `clock` or `state`."""
        return self.server.request("GET", f"/ci/w/{self.name}/{what}")

    def tell(self, what: str, **fields: object) -> Any:
        """Change this world: `reset`, `clock`, `transition`, `fault`, `key` or `host`."""
        return self.server.request("POST", f"/ci/w/{self.name}/{what}", json.dumps(fields).encode())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("phimage")
    group.addoption("--phimage-keep", action="store_true", help="keep the worlds and their endpoint after the run")
    group.addoption("--phimage-seed", action="append", default=[], metavar="FILE", help="seed that every world starts with")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "phimage_seed(*seeds): texts or paths of seeds for the world of this test")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where kept worlds are."""
    if config.option.phimage_keep and (found := _read_ready(folder := _shared_folder(config))):
        pid = (folder / _PID).read_text("ascii")
        terminalreporter.write_line(f"phimage: the worlds are kept at {found['PHIMAGE_ENDPOINT']} by the process {pid}")


@pytest.fixture(scope="session")
def phimage_server(request: pytest.FixtureRequest) -> Iterator[PhimageServer]:
    """The endpoint of this run, shared by the workers of pytest-xdist."""
    config = request.config
    folder = _shared_folder(config)
    process = None
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        variables = _read_ready(folder)
        if not variables:
            process = _start(config, folder)
            variables = _await_ready(process, folder)
    yield PhimageServer(variables["PHIMAGE_ENDPOINT"], variables)
    if process is not None and not config.option.phimage_keep and not hasattr(config, "workerinput"):
        process.terminate()  # under xdist it ends with the process that all workers have in common
        process.wait()


@pytest.fixture
def phimage(request: pytest.FixtureRequest, phimage_server: PhimageServer) -> Iterator[PhimageWorld]:
    """A world of this test alone."""
    world = PhimageWorld(phimage_server, _world_name(request.node.nodeid))
    phimage_server.request("DELETE", f"/ci/w/{world.name}")  # what an earlier run of this test left, if its world was kept
    for marker in reversed(list(request.node.iter_markers("phimage_seed"))):
        for seed in marker.args:
            world.seed(request.path.parent / seed if isinstance(seed, str) and "\n" not in seed else seed)
    yield world
    if not request.config.option.phimage_keep:
        phimage_server.request("DELETE", f"/ci/w/{world.name}")


def _world_name(node: str) -> str:
    """A name that only this test has: the end of its id for people, and a digest of all of it."""
    shown = re.sub(r"[^A-Za-z0-9._-]+", "-", node)[-80:].lstrip("._-")
    return f"{shown or 'test'}-{hashlib.sha256(node.encode()).hexdigest()[:12]}"


def _shared_folder(config: pytest.Config) -> Path:
    """The folder of temporary files that all workers of a run have in common."""
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return base.parent if hasattr(config, "workerinput") else base


def _start(config: pytest.Config, folder: Path) -> subprocess.Popen[bytes]:
    lasting = os.getppid() if hasattr(config, "workerinput") else os.getpid()
    command = [sys.executable, "-m", "phimage", "ci", "--ready-file", str(folder / _READY)]
    if not config.option.phimage_keep:
        command += ["--while-pid", str(lasting)]
    for seed in config.option.phimage_seed:
        command += ["--seed", str(config.invocation_params.dir / seed)]
    with (folder / _LOG).open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
    (folder / _PID).write_text(str(process.pid), "ascii")
    return process


def _await_ready(process: subprocess.Popen[bytes], folder: Path) -> dict[str, str]:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends and process.poll() is None:
        if variables := _read_ready(folder):
            return variables
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"phimage ci did not start:\n{(folder / _LOG).read_text('utf-8', 'replace')}", pytrace=False)


def _read_ready(folder: Path) -> dict[str, str]:
    try:
        text = (folder / _READY).read_text("utf-8")
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in text.splitlines())
