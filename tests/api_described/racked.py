"""Hosts of a real server, enrolled and assigned as a test needs them, and what their agents sign with."""

from __future__ import annotations

import uuid
from itertools import count
from typing import Any

from phimage.client import Client, ParamValue
from phimage.model.account import PrivateKey
from tests.e2e.process import Key

PLACE = {"Region": "cn-bj2", "Zone": "cn-bj2-02"}
MACS = count(0x0C42A1000001)

Params = dict[str, ParamValue]


class RackedAgent:
    """One boot of an agent on a machine that has nothing else in common with others."""

    def __init__(self, operator: Client) -> None:
        self._endpoint = operator.endpoint
        offers = operator.call("DescribePHostMachineType", **PLACE, Type="DB-2").fields["MachineTypes"]
        mac = ":".join(f"{next(MACS):012x}"[place : place + 2] for place in range(0, 12, 2))
        self.hardware: Params = {"SerialNumber": uuid.uuid4().hex, "Mac": [mac]}
        self.registration: Params = {
            "Zone": PLACE["Zone"],
            "MachineType": "DB-2",
            "Cluster": offers[0]["Cluster"],
            "Disk": "serial:ZA1",
            **self.hardware,
        }
        self.boot: Params = {"BootId": uuid.uuid4().hex}
        self.id = ""
        self.token = Key("", "")
        self.key = Key("", "")

    def register(self, operator: Client) -> RackedAgent:
        made = operator.call("RegisterHost", **self.registration).fields
        id, _, secret = made["EnrollToken"].partition(".")
        self.id, self.token = made["PHostId"], Key(id, secret)
        return self

    def enrol(self) -> RackedAgent:
        fields = self.call("AgentEnroll", self.token, **self.hardware, **self.boot)
        self.key = Key(fields["KeyId"], fields["KeySecret"])
        return self

    def call(self, action: str, key: Key, **params: ParamValue) -> dict[str, Any]:
        with Client(self._endpoint, key.public, PrivateKey(key.private)) as client:
            return client.call(action, **params).fields


def rescued(operator: Client, project: str) -> str:
    """A host of a project in the rescue system."""
    agent = RackedAgent(operator).register(operator).enrol()
    operator.call("AssignHost", PHostId=agent.id, ProjectId=project)
    return agent.id


class Racked:
    """An agent that enrols, and one with an order in progress."""

    def __init__(self, operator: Client) -> None:
        self._operator = operator
        self.enrolling = RackedAgent(operator).register(operator)
        self.working = RackedAgent(operator).register(operator).enrol()
        operator.call("ReleaseHost", PHostId=self._assigned(self.working))
        polled = self.working.call("AgentPoll", self.working.key, **self.working.boot, Wait=0)["Order"]
        self.order: Params = {"OrderId": polled["OrderId"], "Fence": polled["Fence"]}

    def key(self, action: str) -> Key | None:
        """What signs an Action of agents; None for any other Action."""
        keys = {"AgentEnroll": self.enrolling.token, "AgentPoll": self.working.key, "AgentReport": self.working.key}
        return keys.get(action)

    def samples(self, image: str, project: str) -> dict[str, Params]:
        """Good requests of all Actions about hosts, for an operator with a project."""
        operator = self._operator
        new, free = RackedAgent(operator), RackedAgent(operator).register(operator).enrol()
        registered = RackedAgent(operator).register(operator).id
        install, capture, release = (rescued(operator, project) for _ in range(3))
        return {
            "DescribePHost": {**PLACE},
            "ReinstallPHost": {**PLACE, "PHostId": install, "ImageId": image, "Name": "sample", "Password": ""},
            "CreatePHostImage": {**PLACE, "PHostId": capture, "ImageName": "Sample"},
            "RegisterHost": new.registration,
            "NewEnrollToken": {"PHostId": registered},
            "AssignHost": {"PHostId": free.id, "ProjectId": project},
            "ReleaseHost": {"PHostId": release},
            "RemoveHost": {"PHostId": RackedAgent(operator).register(operator).id},
            "ListHosts": {"Limit": 5},
            "AgentEnroll": {**self.enrolling.hardware, **self.enrolling.boot},
            "AgentPoll": {**self.working.boot, "Wait": 0, **self.order},
            "AgentReport": {**self.order, "Phase": "zero", "Done": 1, "Total": 2},
        }

    def _assigned(self, agent: RackedAgent) -> str:
        projects = self._operator.call("GetProjectList").fields["ProjectSet"]
        self._operator.call("AssignHost", PHostId=agent.id, ProjectId=projects[0]["ProjectId"])
        return agent.id
