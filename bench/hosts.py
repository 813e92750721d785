"""`python -m bench.hosts [ROUNDS]`: lists of images beside polling agents, against lists without them.

Twenty agents hold long polls on a server with one worker; the load is the hot mix on 1,000 images. Runs without and with agents
take turns. Ends with 1 below FLOOR, or if the polls made a revision.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from bench import catalogue, mixes, servers, wrk
from phimage.client import Client
from phimage.installation import open_catalog, recover_operator_key
from phimage.model.account import PrivateKey
from phimage.settings import Settings

AGENTS = 20
IMAGES = 1_000
ROUNDS = 5
SECONDS = 4
FLOOR = 0.95
_TICKS = os.sysconf("SC_CLK_TCK")


class ListRun(Struct, frozen=True):
    """A run: lists per second, and per processor second of the worker, which depends less on what else runs."""

    per_second: float
    per_cpu_second: float
    errors: int


class PollingAgent:
    """An enrolled agent of a new host."""

    def __init__(self, operator: Client, number: int) -> None:
        self.boot = uuid.uuid4().hex
        offer = operator.call("DescribePHostMachineType").fields["MachineTypes"][0]
        hardware = {"SerialNumber": f"bench-{number}", "Mac": [f"02:00:00:00:00:{number:02x}"]}
        place = {"Zone": offer["Zone"], "MachineType": offer["Type"], "Cluster": offer["Cluster"], "Disk": "serial:1"}
        id, _, secret = operator.call("RegisterHost", **hardware, **place).fields["EnrollToken"].partition(".")
        with Client(operator.endpoint, id, PrivateKey(secret)) as enrolling:
            made = enrolling.call("AgentEnroll", **hardware, BootId=self.boot).fields
        self.client = Client(operator.endpoint, made["KeyId"], PrivateKey(made["KeySecret"]))
        self.polls = 0

    def poll(self, stop: threading.Event) -> None:
        """Hold a long poll until `stop` is set."""
        while not stop.is_set():
            self.client.call("AgentPoll", BootId=self.boot, Wait=5)
            self.polls += 1


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    wrk.find()
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder:
        data = Path(folder) / "data"
        settings = Settings(data_dir=str(data))
        catalogue.fill(settings, IMAGES)
        key = recover_operator_key(settings)
        opened = open_catalog(settings)
        bodies = mixes.hot(IMAGES, opened.now(wait=True).topology())
        opened.database.close()
        with servers.phimage(data) as server, Client(server.url, key.public, key.private) as operator:
            agents = [PollingAgent(operator, number) for number in range(AGENTS)]
            before = operator.call("ListRevisions", Limit=1).fields["Newest"]
            _run(server, bodies, Path(folder))  # fills the caches
            pairs = []
            for _ in range(rounds):
                alone = _run(server, bodies, Path(folder))
                with _polling(agents):
                    pairs.append((alone, _run(server, bodies, Path(folder))))
            after = operator.call("ListRevisions", Limit=1).fields["Newest"]
    by_time = [beside.per_second / alone.per_second for alone, beside in pairs]
    by_cpu = [beside.per_cpu_second / alone.per_cpu_second for alone, beside in pairs]
    print(f"lists/s: {statistics.median(alone.per_second for alone, _ in pairs):.0f} alone")
    print(f"beside {AGENTS} agents: {_range(by_time)} by time, {_range(by_cpu)} by processor time; at least {FLOOR}")
    print(f"{sum(agent.polls for agent in agents)} polls made {after - before} revisions")
    failed = sum(alone.errors + beside.errors for alone, beside in pairs)
    sys.exit(1 if failed or after != before or statistics.median(by_cpu) < FLOOR else 0)


def _range(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


@contextmanager
def _polling(agents: list[PollingAgent]) -> Iterator[None]:
    stop = threading.Event()
    with ExitStack() as stack:
        for agent in agents:
            thread = threading.Thread(target=agent.poll, args=(stop,))
            stack.callback(thread.join)
            thread.start()
        stack.callback(stop.set)
        yield


def _run(server: servers.Running, bodies: list[str], work: Path) -> ListRun:
    before = _processor_seconds(server.process)
    load = wrk.post(server.url, bodies, work, SECONDS)
    spent = _processor_seconds(server.process) - before
    return ListRun(load.requests_per_second, load.requests / spent, load.errors)


def _processor_seconds(process: int) -> float:
    """Processor seconds of the workers of a server."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    fields = (Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children)
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS


if __name__ == "__main__":
    main()
