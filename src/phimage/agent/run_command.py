"""`phimage-agent run`: enrols a machine and obeys the orders of a server until it is ended."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time

from phimage.agent.agent_run import AgentRun
from phimage.agent.hardware import this_machine
from phimage.agent.server_link import MAX_ANSWER, TIMEOUT, ServerLink, enroll_credential
from phimage.errors import ClientError
from phimage.http_client import ApiConnections


def run(given: argparse.Namespace) -> int:
    """Enrol, then obey until interrupted. Ends with an error when the key is revoked."""
    if not given.token:
        raise ClientError("a machine enrols with a token: --token, or the variable PHIMAGE_ENROLL_TOKEN")
    connections = ApiConnections(TIMEOUT, given.ca, MAX_ANSWER)
    link = ServerLink(given.server, connections, time.time, time.sleep, steady=time.monotonic)
    agent = AgentRun(link, connections, this_machine(given.serial_number), read_back=given.read_back, say=_say)
    agent.enroll(enroll_credential(given.token))
    while True:
        if agent.obey_next(reboots=bool(given.reboot_command)):
            _reboot(given.reboot_command)


def _reboot(command: str) -> None:
    """Run the command. A machine that comes back without having rebooted goes on."""
    _say(f"running {command}")
    try:
        code = subprocess.run(shlex.split(command), check=False).returncode  # noqa: S603  the operator's command
    except OSError as error:
        _say(f"--reboot-command {command}: {error.strerror}; reboot this machine by hand")
        return
    if code:
        _say(f"--reboot-command {command} ended with {code}; reboot this machine by hand")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  for people
