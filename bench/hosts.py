"""`python -m bench.hosts [ROUNDS]`: lists of images beside polling agents, against lists without them.

Twenty agents hold long polls on a server with one worker; the load is the hot mix on 1,000 images. Runs without and with agents
take turns. Ends with 1 below FLOOR, or if the polls made a revision.
"""

from __future__ import annotations

import sys
import threading
import uuid

from bench.beside import loaded_server
from phimage.client import Client
from phimage.model.account import PrivateKey

AGENTS = 20
ROUNDS = 5
SECONDS = 4
FLOOR = 0.95


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
    with loaded_server() as server:
        agents = [PollingAgent(server.operator, number) for number in range(AGENTS)]
        before = server.operator.call("ListRevisions", Limit=1).fields["Newest"]
        found = server.compare(rounds, SECONDS, *(agent.poll for agent in agents))
        after = server.operator.call("ListRevisions", Limit=1).fields["Newest"]
    print(f"lists/s: {found.alone:.0f} alone")
    print(
        f"beside {AGENTS} agents: {found.by_time.text(3)} by time, {found.by_cpu.text(3)} by processor time; at least {FLOOR}"
    )
    print(f"{sum(agent.polls for agent in agents)} polls made {after - before} revisions")
    sys.exit(1 if found.errors or after != before or found.by_cpu.median < FLOOR else 0)


if __name__ == "__main__":
    main()
