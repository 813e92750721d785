"""A world: a database, a store, a clock and an application of its own, made from the start in milliseconds."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from phimage.application import Foundation, build_app, open_pipeline
from phimage.catalog.address import database_url
from phimage.catalog.engine import open_database
from phimage.catalog.template import TIME
from phimage.catalog.views import Catalog, View
from phimage.chunks.decorators import Operation, Result, StoreDecorator
from phimage.chunks.memory import MemoryStore
from phimage.chunks.store import Store
from phimage.ci.clock import Draws, WorldClock
from phimage.ci.fault import FaultCounts
from phimage.ci.hosts import ScriptedAgent
from phimage.ci.journal import Journal
from phimage.ci.own_requests import OwnRequests
from phimage.ci.publisher import WorldPublisher, second_opinion
from phimage.ci.seed import no_disks, plant
from phimage.ci.seed_file import read_seed
from phimage.ci.start import Start
from phimage.ci.values import BadControl
from phimage.gateway.app import App
from phimage.metrics.shared import WorkerSlot
from phimage.settings import Settings

_DATABASE = "catalog.sqlite"
Done = TypeVar("Done")


# docs/decisions.md#worlds-are-applications-in-one-process
class World:
    """A world. `settle`, `plant` and `boot_host` are for `in_turn`; its other methods are called on the event loop."""

    def __init__(self, name: str, start: Start, folder: Path, slot: WorkerSlot, predecessors: int = 0) -> None:
        """`folder` does not exist yet; on tmpfs a world is made fastest. All worlds write their metrics to one slot.

        `predecessors`: how many worlds had this name before; their tickets are refused.
        """
        self.name = name
        self.clock = WorldClock(TIME)
        self.faults = FaultCounts()
        self.journal = Journal()
        self._folder = folder
        self._settling = threading.Lock()
        self._turn = asyncio.Lock()
        self.random = Draws(start.random_seed)
        folder.mkdir(mode=0o700)
        (folder / _DATABASE).write_bytes(start.database)
        database = open_database(database_url("", folder), durable=False)
        self.catalog = Catalog(database, start.key_encryption)
        self.store = _filled_at_first_use(MemoryStore(self.clock), start)
        settings = Settings(data_dir=str(folder), explain_signatures=True, min_free_mb=0)
        self.request_ids = Draws(start.random_seed, "requests").uuids()
        foundation = Foundation(
            self.catalog,
            self.store,
            self.clock,
            self.random,
            self.request_ids,
            f"tickets of {predecessors} {name}",
            is_alone=True,
        )
        self._is_closed = False
        self.app: App[View] = build_app(
            settings, lambda: None, lambda: self._is_closed, slot, propagation_seconds=0.0, foundation=foundation
        )
        pipeline = open_pipeline(settings, self.store, second_opinion=second_opinion)
        self.publisher = WorldPublisher(self.catalog, self.store, pipeline, self.clock)
        for image, transition in start.transitions.items():
            self.publisher.follow(transition, image)
        self._operator = start.operator
        self._new_hosts = list(start.hosts)
        self._agents: list[ScriptedAgent] = []

    async def in_turn(self, step: Callable[..., Done], *args: object) -> Done:
        """Call a method in a thread, one at a time: all worlds share the threads, and a busy one leaves them to the others."""
        async with self._turn:
            return await asyncio.to_thread(step, *args)

    def changes(self, action: str) -> bool:
        """Whether an Action may queue a job."""
        known = self.app.registry.get(action)
        return known is not None and known.changes

    def plant(self, text: str) -> None:
        """Write a seed over what is there. Raises BadControl."""
        seed = read_seed(text, "seed")
        transitions = plant(self.catalog, self.store, seed, "seed", self.clock(), self.random, no_disks)
        for image, transition in transitions.items():
            self.publisher.follow(transition, image)
        self._new_hosts += seed.sections.hosts
        self.publisher.has_news = True

    def settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let agents and the publisher do what is due, in another thread than that of the event loop.

        Raises ServiceUnavailable, and Refused for a host that cannot be registered.
        """
        with self._settling:
            while self._new_hosts:
                number = len(self._agents) + 1
                requests = OwnRequests(self.app, loop)
                agent = ScriptedAgent(self._new_hosts[0], number, self._folder, requests, self._operator, self.random)
                self._new_hosts.pop(0)
                agent.install()
                self._agents.append(agent)
            for agent in self._agents:  # before the publisher, which ends the orders of agents that say nothing
                agent.step(self.publisher.transition_of, self.clock())
            self.publisher.settle()

    def look(self, answer: bytes) -> None:
        """Count a look at every image and host whose id is in an answer."""
        self.publisher.look(answer)
        for agent in self._agents:
            self.publisher.has_news = agent.look(answer) or self.publisher.has_news

    def boot_host(self, name: str, system: object) -> str:
        """Boot the rescue system of a scripted host, or switch it `off`. Returns its id. Raises BadControl and Refused."""
        with self._settling:
            agent = next((agent for agent in self._agents if name in (agent.doc.name, agent.id)), None)
            if agent is None:
                known = ", ".join(agent.doc.name for agent in self._agents) or "there are none"
                raise BadControl(f"there is no scripted host {name!r}", f"expected one of a seed: {known}")
            if system == "rescue":
                agent.boot()
            elif system == "off":
                agent.switch_off()
            else:
                raise BadControl(f"boot: {system!r} is nothing that a host can do", "expected rescue or off")
            return agent.id

    def close(self) -> None:
        """End it, and remove its files."""
        self._is_closed = True
        self.app.notify_revision()  # long polls end now, and not when their time is over
        self.app.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _filled_at_first_use(store: MemoryStore, start: Start) -> Store:
    is_filled = False

    def around(_operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        nonlocal is_filled
        if not is_filled:
            with start.lock:  # a second fill would undo what the first request did
                if not is_filled:
                    start.fill(store)
                    is_filled = True
        return call()

    return StoreDecorator(store, around)
