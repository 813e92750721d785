"""`kill -9` at random moments (T2): to the server with all that is below it, to a publisher, and to every command that changes
something, on SQLite with a folder and on PostgreSQL with S3.

Commands that publish go on by themselves or are run again, as a person would. While all are dead time passes for the bytes, so
that a collection finds something to remove. In memory stands what was acknowledged, and what may or may not have happened.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import chain, count
from pathlib import Path
from threading import Thread
from typing import NamedTuple

import pytest

from phimage.chunks.layout import INSTALLATION, STATISTICS, SWEEPS, chunk_name, manifest_name
from phimage.chunks.manifest import load_manifest
from phimage.chunks.read import open_disk
from phimage.errors import PhimageError, SetupError, Unreachable
from phimage.installation import command_author
from phimage.maintenance import gc
from phimage.model.ids import ImageId
from phimage.model.image import State
from phimage.sources.errors import SourceInterrupted
from tests.contract import stores
from tests.contract.stores import KEYS, S3Server, names_but_frame_lists
from tests.e2e.process import Phimage
from tests.postgresql import PostgreSQL
from tests.torture.installation import SECONDS, Installation, publish_command
from tests.torture.length import lengths
from tests.torture.originals import Original, Originals
from tests.unit.sources.server import Exchange, FileServed
from tests.unit.sources.server import Server as WebServer

SEED = 20261125
AT_ONCE = 2
HOUR = 3600.0
TASKS = ("collection", "removal", "apply", "backup", "restore")
TASK_SECONDS = 0.6
"""About how long a command of these takes: a later kill finds none."""
VICTIMS = ("server", "server", "publisher", "publication", *TASKS)
KILLED = -signal.SIGKILL
ROOT = Path(__file__).parents[2]
COLLECT = ("store", "gc", "--grace", "1h")

NewPlace = Callable[[], dict[str, str]]
"""Where a new installation can have its facts and its bytes, as variables."""


class Restoring(NamedTuple):
    """A backup on its way to a new place."""

    backup: str
    variables: dict[str, str]

    def command(self) -> tuple[str, ...]:
        options = {name.removeprefix("PHIMAGE").replace("_", "-").lower(): value for name, value in self.variables.items()}
        return (
            "backup",
            "restore",
            "backups",
            "--backup",
            self.backup,
            "--key",
            "data/master.key",
            *chain(*((f"-{name}", value) for name, value in options.items())),
        )

    def is_complete(self, home: Path) -> bool:
        """Whether nothing is left to do, also if the process was killed before it said so."""
        data = home / self.variables["PHIMAGE_DATA_DIR"]
        return (data / "master.key").exists() and not (data / "restoring.json").exists()


def clusters(number: int) -> tuple[str, str]:
    """The two things that a catalogue file of that number adds."""
    return f"K{number}a", f"K{number}b"


Ended = Callable[[bool], object]
"""Called when a task has ended: True if that was well, False if it was cut short."""


class Task(NamedTuple):
    """A command that does something once."""

    process: subprocess.Popen[str]
    ended: Ended


class Command:
    """A command that publishes an original, from its file or from the web server, until it ended well."""

    def __init__(self, original: Original, source: str) -> None:
        self.original = original
        self.source = source
        self.runs = 0


class World:
    """An installation, what is done to it, and what it told."""

    def __init__(self, folder: Path, seed: int, new_place: NewPlace) -> None:
        here = new_place()
        self.installation = Installation(folder, **{**KEYS, **here})
        self.in_folder = "PHIMAGE_STORE" not in here
        self.restores = ({"PHIMAGE_DATA_DIR": f"restored{number}", **new_place()} for number in count(1))
        self.originals = Originals(folder / "originals")
        self.web = WebServer(self._serve_original)
        self.chance = random.Random(seed)
        self.running: dict[subprocess.Popen[str], Command] = {}
        self.broken: list[Command] = []
        self.published: dict[ImageId, str] = {}
        self.withdrawn: set[ImageId] = set()
        self.unsure: set[ImageId] = set()
        self.tasks: dict[str, Task] = {}
        self.applied: set[int] = set()
        self.applications = 0
        self.backups: set[str] = set()
        self.restoring: Restoring | None = None
        self.restored: Restoring | None = None
        self.count: Counter[str] = Counter()
        self.duration = 1.0

    def _serve_original(self, exchange: Exchange) -> None:
        content = (self.originals.folder / Path(exchange.request.path).name).read_bytes()
        FileServed(content, etag=f'"{len(content)}"')(exchange)

    def set_up(self) -> None:
        """Publish once without any kill, to learn how long it takes, and back that up."""
        self.installation.start()
        began = time.monotonic()
        self.start_command()
        self.finish()
        self.duration = time.monotonic() - began
        self.begin("backup")
        self.end_task("backup")

    def round(self) -> None:
        """Some work, and one kill in the middle of it."""
        if self.installation.server is None:
            if self.chance.random() < 0.7:
                self.let_time_pass()
            self.installation.start()
        self.reap()
        while len(self.running) < AT_ONCE:
            self.start_command()
        victim = self.chance.choice(VICTIMS)
        for kind in TASKS:
            if kind not in self.tasks and (victim == kind or self.chance.random() < 0.2):
                self.begin(kind)
        time.sleep(self.chance.random() * (min(self.duration, TASK_SECONDS) if victim in TASKS else self.duration))
        withdrawing = Thread(target=self.withdraw)
        withdrawing.start()
        time.sleep(self.chance.random() * 0.05)
        self.kill(victim)
        withdrawing.join()

    def let_time_pass(self) -> None:
        """Nobody works for two hours. A collection then finds what broke off; where the clock is S3's, it is ahead itself."""
        for kind in list(self.tasks):
            self.end_task(kind)
        if self.in_folder:
            self.installation.age(2 * HOUR)
            return
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.later", str(2 * HOUR), *COLLECT],
            env={**self.installation.cli.environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self.tasks["collection"] = Task(process, bool)
        if self.chance.random() < 0.5:
            time.sleep(self.chance.random() * self.duration)
            self.kill("collection")
        self.end_task("collection")

    def begin(self, kind: str) -> None:
        """Begin a task."""
        begin = {
            "collection": lambda: self.start_task("collection", *COLLECT),
            "removal": self.begin_removal,
            "apply": self.begin_apply,
            "backup": self.begin_backup,
            "restore": self.begin_restore,
        }
        begin[kind]()

    def start_task(self, kind: str, *arguments: str, ended: Ended = bool) -> subprocess.Popen[str]:
        process = self.installation.cli.start(*arguments)
        self.tasks[kind] = Task(process, ended)
        return process

    def begin_removal(self) -> None:
        image = self.choose()
        if image is not None:
            self.unsure.add(image)

            def ended(well: bool) -> None:
                if well:
                    self.withdrawn.add(image)

            self.start_task("removal", "image", "rm", "--withdraw", "--yes", image, ended=ended)

    def begin_apply(self) -> None:
        """Two clusters in one revision."""
        self.applications += 1
        number = self.applications
        file = self.installation.home.home / f"apply-{number}.yaml"
        file.write_text("phimage: 1\nclusters:\n" + "".join(f"  - {{id: {id}, description: new}}\n" for id in clusters(number)))

        def ended(well: bool) -> None:
            if well:
                self.applied.add(number)

        self.start_task("apply", "catalog", "apply", file.name, ended=ended)

    def begin_backup(self) -> None:
        def ended(well: bool) -> None:
            if well:
                assert process.stdout is not None
                self.backups.add(process.stdout.read().strip())

        process = self.start_task("backup", "backup", "create", "backups", ended=ended)

    def begin_restore(self) -> None:
        """Restore the newest backup to a new place, or go on with what was cut short."""
        restoring = self.restoring = self.restoring or Restoring(max(self.backups), next(self.restores))

        def ended(well: bool) -> None:
            if well or restoring.is_complete(self.installation.home.home):
                self.restored, self.restoring = restoring, None

        self.start_task("restore", *restoring.command(), ended=ended)

    def end_task(self, kind: str) -> None:
        """Wait for a task. It ends well, or is killed, or its server is; a collection may refuse to remove more than half."""
        task = self.tasks.pop(kind)
        code = task.process.wait(SECONDS)
        assert task.process.stderr is not None
        told = task.process.stderr.read()
        assert "Traceback" not in told, told
        refused = kind == "collection" and code == SetupError.exit_code and "`phimage store gc --remove " in told
        assert code in (0, KILLED, Unreachable.exit_code) or refused, (kind, code, told)
        task.ended(code == 0)
        self.count[f"{kind} {'refused' if refused else 'done' if code == 0 else 'cut short'}"] += 1
        for stream in (task.process.stdout, task.process.stderr):
            assert stream is not None
            stream.close()

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
        """See how the commands that have ended did."""
        for kind in [kind for kind, task in self.tasks.items() if task.process.poll() is not None]:
            self.end_task(kind)
        for process in [process for process in self.running if process.poll() is not None]:
            command = self.running.pop(process)
            out, err = process.communicate()
            assert "Traceback" not in err, err
            if process.returncode == 0:
                self.published[ImageId(out.strip())] = command.original.sha256
                command.original.path.unlink()
                self.count["gone on"] += command.runs > 1
            else:
                # By a collection whose clock is ahead, seen while it waits, sends or counts on a chunk of a withdrawn image.
                told = ("its upload received no part for an hour", "its publication is Failed", "is not in the store any more")
                given_up = any(one in err for one in told)
                cut_short = (KILLED, Unreachable.exit_code, SourceInterrupted.exit_code)  # the last after many tries
                assert given_up or process.returncode in cut_short, (process.returncode, err)
                self.count["broken off"] += 1
                self.broken.append(command)

    def choose(self) -> ImageId | None:
        """An image to be withdrawn, unless there are only few."""
        known = sorted(set(self.published) - self.withdrawn - self.unsure)
        return self.chance.choice(known) if len(known) > 1 else None

    def withdraw(self) -> None:
        """Withdraw an image, now and then, in the moment of the kill."""
        image = self.choose()
        if image is None or self.chance.random() < 0.5:
            return
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
            publications, task = list(self.running), self.tasks.get(victim)
            process = self.chance.choice(publications) if victim == "publication" else task.process if task else None
            if process is None or process.poll() is not None:
                return
            process.kill()
        self.count[victim] += 1
        self.count["kills"] += 1

    def has_met_all(self) -> bool:
        """Whether a kill has met each kind of victim. On a slow machine few images are published, so few are removed."""
        return all(self.count[victim] for victim in VICTIMS)

    def finish(self) -> None:
        """Without any more kills every command ends well, if it is run again."""
        if self.installation.server is None:
            self.installation.start()
        for kind in list(self.tasks):
            self.end_task(kind)
        ends, left = time.monotonic() + SECONDS, len(self.running) + len(self.broken)
        while self.running or self.broken:
            assert time.monotonic() < ends, [command.original for command in (*self.running.values(), *self.broken)]
            while self.broken and len(self.running) < AT_ONCE:
                self.run(self.broken.pop())
            self.reap()
            if len(self.running) + len(self.broken) < left:
                ends, left = time.monotonic() + SECONDS, len(self.running) + len(self.broken)
            time.sleep(0.02)

    def check(self) -> None:
        """What was acknowledged is so, and the store has what is needed for it and nothing else."""
        installation = self.installation
        installation.cli.well("image", "verify", "--all")
        installation.cli.well("db", "check")
        self.check_applied()
        self.check_backups()
        contents = installation.contents()
        assert set(self.published) - self.withdrawn - self.unsure <= set(contents) <= set(self.published) - self.withdrawn
        for id, content in contents.items():
            image = installation.image(id)
            assert image is not None
            assert (image.state, content.sha256) == (State.AVAILABLE, self.published[id])
            whole = sha256()
            for piece in open_disk(installation.store, content.manifest).chunks():
                whole.update(piece)
            assert whole.hexdigest() == self.published[id]
        installation.stop()
        self.check_leftovers()

    def check_applied(self) -> None:
        """Each file was applied as a whole or not at all."""
        exported = self.installation.cli.well("catalog", "export")
        there = {number for number in range(1, self.applications + 1) if f"id: {clusters(number)[0]}" in exported}
        assert there == {number for number in range(1, self.applications + 1) if f"id: {clusters(number)[1]}" in exported}
        assert self.applied <= there

    def check_backups(self) -> None:
        """Every acknowledged backup is whole, and what was restored is, too."""
        cli = self.installation.cli
        listed = {one["Name"] for one in cli.json("backup", "list", "backups")["BackupSet"]}
        assert self.backups <= listed
        cli.well("backup", "verify", "backups", "--all")
        if self.restoring is not None:
            cli.well(*self.restoring.command())
        for place in (self.restored, self.restoring):
            if place is not None:
                there = Phimage(cli.home, **{**cli.environment, **place.variables})
                there.well("image", "verify", "--all")
                there.well("db", "check")

    def check_leftovers(self) -> None:
        """A month later nothing is left but what images need."""
        installation, month = self.installation, 30 * 24 * HOUR
        store, work = installation.store, installation.data / "work"
        gc.collect_garbage(
            *(installation.catalog, store, work, command_author("CollectStore")),
            grace_seconds=HOUR,
            approve=lambda planned: None,
            now=lambda: time.time() + month,
        )
        needed, manifests = set(), set()
        for content in installation.contents().values():
            digest = content.manifest
            manifests.add(digest)
            needed |= {manifest_name(digest), *(chunk_name(chunk) for _, chunk in load_manifest(store, digest).stored())}
        left = names_but_frame_lists(store, manifests)
        beside = (INSTALLATION, STATISTICS, SWEEPS)
        assert {name for name in left if name.partition("/")[0] not in beside} == needed
        if self.in_folder:
            assert list((installation.data / "store" / ".tmp").iterdir()) == []
        assert list(work.iterdir()) == []

    def close(self) -> None:
        """End all processes."""
        for process in (*self.running, *(task.process for task in self.tasks.values())):
            process.kill()
            process.communicate()
        self.web.close()


s3 = stores.s3


def on_sqlite_and_folder(request: pytest.FixtureRequest) -> NewPlace:
    return dict


def on_postgresql_and_s3(request: pytest.FixtureRequest) -> NewPlace:
    postgresql: PostgreSQL = request.getfixturevalue("postgresql")
    s3: S3Server = request.getfixturevalue("s3")
    for name, value in KEYS.items():
        request.getfixturevalue("monkeypatch").setenv(name, value)
    return lambda: {"PHIMAGE_DATABASE": postgresql.url(postgresql.create()), "PHIMAGE_STORE": s3.new_address()}


@pytest.fixture(params=[on_sqlite_and_folder, on_postgresql_and_s3])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path, SEED, request.param(request))
    with found.installation:
        yield found
        found.close()


FEW = 60
"""With fewer kills chance may have it that none breaks a command off: most commands outlive their server."""


@lengths("kills", 3, 100)
def test_whatever_is_killed_no_acknowledged_change_is_lost_and_nothing_is_left_over(world: World, kills: int) -> None:
    world.set_up()
    while world.count["kills"] < kills or (kills >= FEW and not world.has_met_all() and world.count["kills"] < 3 * kills):
        world.round()
    world.finish()
    world.check()
    if kills >= FEW:
        assert world.count["gone on"], world.count
        assert world.has_met_all(), world.count
