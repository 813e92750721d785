"""`kill -9` at random moments (T2): to the server with all that is below it, to a publisher, a command, a collection.

Commands that publish go on by themselves or are run again, as a person would. While all are dead time passes for the bytes, so
that each collection finds something to remove. In memory stands what was told as published, and what was to be withdrawn.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from threading import Thread

import pytest

from phimage import care
from phimage.bootstrap import command_author, open_packs
from phimage.chunks.layout import INSTALLATION, ManifestDigest, chunk_name, manifest_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.read import open_disk
from phimage.errors import PhimageError, SetupError, Unreachable
from phimage.model.ids import ImageId
from phimage.model.image import State
from phimage.settings import Settings
from tests.torture.installation import SECONDS, Installation, publish_command
from tests.torture.length import lengths
from tests.torture.originals import Original, Originals
from tests.unit.sources.server import Exchange, FileServed
from tests.unit.sources.server import Server as WebServer

SEED = 20261125
AT_ONCE = 2
HOUR = 3600.0
VICTIMS = ("server", "server", "publisher", "command", "collection")
KILLED = -signal.SIGKILL


class Command:
    """A command that publishes an original, from its file or from the web server, until it ended well."""

    def __init__(self, original: Original, source: str) -> None:
        self.original = original
        self.source = source
        self.runs = 0


class World:
    """An installation, what is done to it, and what it told."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.installation = Installation(folder)
        self.originals = Originals(folder / "originals")
        self.web = WebServer(self._serve_original)
        self.chance = random.Random(seed)
        self.running: dict[subprocess.Popen[str], Command] = {}
        self.broken: list[Command] = []
        self.published: dict[ImageId, str] = {}
        self.withdrawn: set[ImageId] = set()
        self.unsure: set[ImageId] = set()
        self.collection: subprocess.Popen[str] | None = None
        self.count: Counter[str] = Counter()
        self.duration = 1.0

    def _serve_original(self, exchange: Exchange) -> None:
        content = (self.originals.folder / Path(exchange.request.path).name).read_bytes()
        FileServed(content, etag=f'"{len(content)}"')(exchange)

    def set_up(self) -> None:
        """Publish once without any kill, to learn how long it takes."""
        self.installation.start()
        began = time.monotonic()
        self.start_command()
        self.finish()
        self.duration = time.monotonic() - began

    def round(self) -> None:
        """Some work, and one kill in the middle of it."""
        if self.installation.server is None:
            if self.chance.random() < 0.7:
                self.end_collection()
                self.installation.age(2 * HOUR)
            self.installation.start()
        self.reap()
        while len(self.running) < AT_ONCE:
            self.start_command()
        victim = self.chance.choice(VICTIMS)
        if self.collection is None and (victim == "collection" or self.chance.random() < 0.4):
            self.collection = self.installation.cli.start("store", "gc", "--grace", "1h")
        time.sleep(self.chance.random() * self.duration)
        withdrawing = Thread(target=self.withdraw)
        withdrawing.start()
        time.sleep(self.chance.random() * 0.05)
        self.kill(victim)
        withdrawing.join()

    def start_command(self) -> None:
        """Run a command that broke off once more, or a new one."""
        if self.broken and self.chance.random() < 0.7:
            self.run(self.broken.pop(0))
            return
        original = self.originals.next()
        by_url = original.number % 2 == 0
        self.run(Command(original, self.web.url(f"/{original.path.name}") if by_url else str(original.path)))

    def run(self, command: Command) -> None:
        """Start it, for the first time or once more."""
        command.runs += 1
        name = f"original {command.original.number}"
        self.running[self.installation.cli.start(*publish_command(command.source, name))] = command

    def reap(self) -> None:
        """Hear what the commands that have ended told."""
        for process in [process for process in self.running if process.poll() is not None]:
            command = self.running.pop(process)
            out, err = process.communicate()
            assert "Traceback" not in err, err
            if process.returncode == 0:
                self.published[ImageId(out.strip())] = command.original.sha256
                command.original.path.unlink()
                self.count["gone on"] += command.runs > 1
            else:
                assert process.returncode in (KILLED, Unreachable.exit_code), (process.returncode, err)
                self.count["broken off"] += 1
                self.broken.append(command)

    def withdraw(self) -> None:
        """Withdraw an image, now and then. Who gets no good answer does not know."""
        known = sorted(set(self.published) - self.withdrawn - self.unsure)
        if len(known) < 2 or self.chance.random() < 0.5:
            return
        image = self.chance.choice(known)
        with self.installation.client() as client:
            try:
                client.call("WithdrawPHostImage", ImageId=image)
                self.withdrawn.add(image)
            except PhimageError:
                self.unsure.add(image)

    def kill(self, victim: str) -> None:
        """One SIGKILL, if the victim is there."""
        if victim == "server":
            self.installation.kill()
        elif victim == "publisher":
            publisher = self.installation.publisher()
            if publisher is None:
                return
            os.kill(publisher.pid, signal.SIGKILL)
        else:
            target = self.collection if victim == "collection" else self.chance.choice(list(self.running))
            if target is None or target.poll() is not None:
                self.end_collection()
                return
            target.kill()
        self.count[victim] += 1
        self.count["kills"] += 1

    def end_collection(self) -> None:
        """A collection ends well, is killed, or refuses to remove more than half, which broken publications may have left."""
        if self.collection is not None:
            _, err = self.collection.communicate(timeout=SECONDS)
            refused = self.collection.returncode == SetupError.exit_code and "`phimage store gc --remove " in err
            assert self.collection.returncode in (0, KILLED) or refused, err
            self.count["refused"] += refused
            self.collection = None

    def finish(self) -> None:
        """Without any more kills every command ends well, if it is run again."""
        if self.installation.server is None:
            self.installation.start()
        self.end_collection()
        ends = time.monotonic() + SECONDS
        while self.running or self.broken:
            assert time.monotonic() < ends, [command.original for command in (*self.running.values(), *self.broken)]
            while self.broken and len(self.running) < AT_ONCE:
                self.run(self.broken.pop())
            self.reap()
            time.sleep(0.02)

    def check(self) -> None:
        """What was told is so, and the store has what is needed for it and nothing else."""
        installation = self.installation
        checked = installation.cli.run("image", "verify", "--all")
        assert checked.code == 0, checked
        contents = installation.contents()
        assert set(self.published) - self.withdrawn - self.unsure <= set(contents) <= set(self.published) - self.withdrawn
        for id, content in contents.items():
            image = installation.image(id)
            assert image is not None
            assert (image.state, content.sha256) == (State.AVAILABLE, self.published[id])
            whole = sha256()
            for piece in open_disk(installation.store, ManifestDigest(content.manifest)).chunks():
                whole.update(piece)
            assert whole.hexdigest() == self.published[id]
        installation.stop()
        self.check_leftovers()

    def check_leftovers(self) -> None:
        """A month later nothing is left but what images need."""
        installation, month = self.installation, 30 * 24 * HOUR
        store, work = installation.store, installation.data / "work"
        packs = open_packs(Settings(data=str(installation.data)), store)
        care.sweep(
            *(installation.catalog, store, packs, work, command_author("CollectStore")),
            grace_seconds=HOUR,
            approve=lambda planned: None,
            now=lambda: time.time() + month,
        )
        needed = set()
        for content in installation.contents().values():
            digest = ManifestDigest(content.manifest)
            needed |= {manifest_name(digest), *(chunk_name(chunk) for _, chunk in load_manifest(store, digest).stored())}
        assert {stored.name for stored in store.list() if not stored.name.startswith(f"{INSTALLATION}/")} == needed
        assert list((installation.data / "store" / ".tmp").iterdir()) == []
        assert list(work.iterdir()) == []

    def close(self) -> None:
        """End all processes."""
        for process in (*self.running, *([self.collection] if self.collection else [])):
            process.kill()
            process.communicate()
        self.web.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path, SEED)
    with found.installation:
        yield found
        found.close()


FEW = 20
"""With fewer kills chance may have it that none breaks a command off: most commands outlive their server."""


@lengths("kills", 3, 100)
def test_whatever_is_killed_no_image_is_lost_or_wrong_and_nothing_is_left_over(world: World, kills: int) -> None:
    world.set_up()
    while world.count["kills"] < kills:
        world.round()
    world.finish()
    world.check()
    assert world.count["server"]
    if kills >= FEW:
        assert world.count["gone on"], world.count
