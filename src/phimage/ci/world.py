"""A world: a database, a store, a clock and an application of its own, made from the start in milliseconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

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
from phimage.ci.journal import Journal
from phimage.ci.publisher import WorldPublisher, second_opinion
from phimage.ci.seed import no_disks, plant
from phimage.ci.seed_file import read_seed
from phimage.ci.start import Start
from phimage.gateway.app import App
from phimage.metrics.shared import WorkerSlot
from phimage.settings import Settings

_DATABASE = "catalog.sqlite"


# docs/decisions.md#worlds-are-applications-in-one-process
class World:
    """A world. Its methods but `settle` and `plant` are called on the event loop."""

    def __init__(self, name: str, start: Start, folder: Path, slot: WorkerSlot) -> None:
        """`folder` does not exist yet; on tmpfs a world is made fastest. All worlds write their metrics to one slot."""
        self.name = name
        self.clock = WorldClock(TIME)
        self.faults = FaultCounts()
        self.journal = Journal()
        self._folder = folder
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
            f"tickets of {name}",
            is_alone=True,
        )
        self.app: App[View] = build_app(settings, lambda: None, slot=slot, propagation_seconds=0.0, foundation=foundation)
        pipeline = open_pipeline(settings, self.store, second_opinion=second_opinion)
        self.publisher = WorldPublisher(self.catalog, self.store, pipeline, self.clock)
        for image, transition in start.transitions.items():
            self.publisher.follow(transition, image)

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

    def close(self) -> None:
        """End it, and remove its files."""
        self.app.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _filled_at_first_use(store: MemoryStore, start: Start) -> Store:
    is_filled = False

    def around(_operation: Operation, _sent: int, call: Callable[[], Result]) -> Result:
        nonlocal is_filled
        if not is_filled:
            start.fill(store)
            is_filled = True
        return call()

    return StoreDecorator(store, around)
