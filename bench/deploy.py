"""`python -m bench.deploy`: deploy a disk of 4 GiB with 344 MiB of data, beside programs that verify nothing.

Each round writes the same image with each program in turn, to a loop device full of other data. Figures are processor seconds,
user and system, of the program and its children, so other work on the machine disturbs them little; ratios are of one round.
The kernel's own work for the loop device is in none of them. Needs root, qemu-img, zstd, bmaptool, partclone and casync.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path

from msgspec import Struct
from tests.delivering import FakeAuthorizer, content_of, write_disk
from tests.deploying import ImageServer, gpt_image, loop_device, start_agent
from tests.proxy import CountingProxy
from tests.serving import serving

from phimage.agent_archive import make_archive
from phimage.chunks.decorators import StoreDecorator
from phimage.chunks.factory import open_store
from phimage.chunks.store import Store
from phimage.delivery.app import Delivery
from phimage.delivery.stream import DownloadLimits
from phimage.http.asgi import Application, Message, Receive, Send

RESULTS = Path(__file__).parent / "RESULTS-deploy.md"
MIB = 1 << 20
SIZE = 4096 * MIB
DATA = 344
"""Chunks with data, each of this system's files, spread over the disk."""
SOURCES = ("/usr/lib", "/usr/bin", "/usr/share")
FLOOR = "qemu-img convert -n -t none -W, from a zstd qcow2"
AGENT = "phimage-agent deploy"
UNREAD = "phimage-agent deploy --no-read-back"
ARCHIVE = "phimage-agent.pyz with the system's Python"
START = "start of the agent"
FLOORS = {"cpu": 2.5, "read-back": 1.3, "again": 16, "memory": 96, "start": 0.3, "reads": 2}
AT_ONCE = 20


class Run(Struct, frozen=True):
    """One run of a program: its processor seconds, wall seconds, and the most memory it had in MiB."""

    cpu: float
    wall: float
    memory: float


class Bed(Struct, frozen=True):
    """What one round measures with."""

    folder: Path
    raw: Path
    server: ImageServer
    device: str


def main() -> None:
    """Measure, print, and write RESULTS-deploy.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.deploy", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of everything (default 5)")
    parser.add_argument(
        "--casync", action=argparse.BooleanOptionalAction, default=True, help="measure casync, which takes minutes"
    )
    arguments = parser.parse_args()
    rounds, casync = arguments.rounds, arguments.casync
    runs: dict[str, list[Run]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder, bed(Path(folder), casync) as at:
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for name, command in programs(at, casync).items():
                fill(at.device)
                runs[name].append(run(command))
            runs[START].append(run([sys.executable, "-m", "phimage.agent", "disks"]))
        again = cut_at_half(at)
        reads = many_at_once(Path(folder))
    text = report(runs, again, reads)
    print(text)
    RESULTS.write_text(text)


@contextmanager
def bed(folder: Path, casync: bool) -> Iterator[Bed]:
    """The image in every form that a program reads, its server, and a target."""
    raw = make_disk(folder / "disk.raw")
    commands = [
        ["qemu-img", "convert", "-O", "qcow2", "-c", "-o", "compression_type=zstd", raw, folder / "disk.qcow2"],
        ["zstd", "-q", "-3", raw, "-o", folder / "disk.raw.zst"],
        ["bmaptool", "-q", "create", "-o", folder / "disk.bmap", raw],
        ["partclone.dd", "-q", "-L", folder / "log", "-s", raw, "-o", folder / "disk.clone"],
    ]
    if casync:
        commands.append(["casync", "make", f"--store={folder}/disk.castr", folder / "disk.caibx", raw])
    for command in commands:
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
    (folder / "agent.pyz").write_bytes(make_archive())
    target = folder / "target"
    with target.open("wb") as file:
        file.truncate(SIZE)
    with raw.open("rb") as image, mmap(image.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as disk:
        server = ImageServer(folder, disk)
    try:
        with loop_device(target) as device:
            yield Bed(folder, raw, server, device)
    finally:
        server.close()


def make_disk(file: Path) -> Path:
    """A sparse disk with a partition table, and data in chunks that are spread evenly."""
    data = files()
    with file.open("wb") as disk:
        disk.truncate(SIZE)
        for number in range(DATA):
            disk.seek((number * (SIZE // MIB - 2) // DATA + 1) * MIB)
            disk.write(next(data))
    subprocess.run(["sfdisk", "-q", file], input="label: gpt\nstart=2048\n", text=True, check=True, capture_output=True)
    return file


def files() -> Iterator[bytes]:
    """Pieces of 1 MiB of this system's files."""
    held = bytearray()
    for root in SOURCES:
        for folder, _, names in sorted(os.walk(root)):
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    held += path.read_bytes()
                    while len(held) >= MIB:
                        yield bytes(held[:MIB])
                        del held[:MIB]


def programs(at: Bed, casync: bool) -> dict[str, list[str]]:
    """The command of each program."""
    folder, device = at.folder, at.device
    options = ["deploy", "--image", at.server.url(), "--disk", device, "--yes", Path(device).name]
    agent = [sys.executable, "-m", "phimage.agent", *options]
    found = {
        FLOOR: ["qemu-img", "convert", "-n", "-t", "none", "-W", "-O", "raw", f"{folder}/disk.qcow2", device],
        AGENT: agent,
        UNREAD: [*agent, "--no-read-back"],
        ARCHIVE: ["python3", "-I", f"{folder}/agent.pyz", *options],
        "zstd -dc, dd": ["sh", "-c", f"zstd -dcq {folder}/disk.raw.zst | dd of={device} bs=4M iflag=fullblock oflag=direct"],
        "bmaptool copy, from zstd": ["bmaptool", "copy", "--bmap", f"{folder}/disk.bmap", f"{folder}/disk.raw.zst", device],
        "partclone.dd": ["partclone.dd", "-q", "-L", f"{folder}/log", "-s", f"{folder}/disk.clone", "-o", device],
    }
    if casync:
        found["casync extract"] = ["casync", "extract", f"--store={folder}/disk.castr", f"{folder}/disk.caibx", device]
    return found


def fill(device: str) -> None:
    """Make every chunk of the target another one."""
    with open(device, "r+b", buffering=0) as disk:  # noqa: PTH123  a device
        for at in range(0, SIZE, MIB):
            disk.seek(at)
            disk.write(b"old data" * 512)
        os.fsync(disk.fileno())


def run(command: Sequence[str]) -> Run:
    """Run a program that must end well."""
    begun, memory, pid = time.perf_counter(), 0, 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        while not pid:  # the kernel's own account has the memory of this process too
            memory = max(memory, memory_of(process.pid))
            time.sleep(0.005)
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
        said.seek(0)
        text = said.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (command, text)
    return Run(used.ru_utime + used.ru_stime, time.perf_counter() - begun, memory / 1024)


def memory_of(pid: int) -> int:
    """The most memory that a process had so far, in KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def cut_at_half(at: Bed) -> float:
    """MiB that are fetched again when a deployment is cut at half."""
    proxy = CountingProxy(at.server.port)
    fill(at.device)
    whole = fetched(proxy, at, 1 << 62)
    fill(at.device)
    first = fetched(proxy, at, whole // 2)
    second = fetched(proxy, at, 1 << 62)
    proxy.close()
    return (first + second - whole) / MIB


def fetched(proxy: CountingProxy, at: Bed, until: int) -> int:
    """The bytes that a deployment fetches until it is cut."""
    proxy.act(until, proxy.cut)
    process = start_agent(at.server.url(proxy.port), at.device, "--patience", "0")
    said = process.communicate(timeout=600)[1]
    assert process.returncode == (0 if until == 1 << 62 else 69), said
    return proxy.passed


class CountingStore(StoreDecorator):
    """A store that counts how often each object is read. Like an object store, it has no path."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, lambda operation, sent, call: call())
        self.reads: Counter[str] = Counter()

    def get(self, name: str) -> bytes:
        """Read an object whole."""
        self.reads[name] += 1
        return self._store.get(name)

    def path(self, name: str) -> Path | None:
        """No object has a path."""
        return None


class StartLine:
    """An application that answers nobody until a number of requests for a manifest is there, which is how a deployment begins.

    To start twenty programs on one machine takes longer than their deployments; twenty machines start by themselves.
    """

    def __init__(self, application: Application, starters: int) -> None:
        self._application = application
        self._missing = starters
        self._open = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["path"].endswith("/manifest"):
            self._missing -= 1
            if self._missing == 0:
                self._open.set()
            await self._open.wait()
        await self._application(scope, receive, send)


def many_at_once(folder: Path) -> Counter[int]:
    """How many chunks were read from the store how often, while twenty machines deployed one image at once."""
    image = gpt_image(64 * MIB)
    store = CountingStore(open_store(str(folder / "many")))
    written = write_disk(store, image, MIB)
    ids = iter(range(1 << 30))
    limits = DownloadLimits(concurrent=8 * AT_ONCE)
    delivery = Delivery(store, FakeAuthorizer(content_of(written)), lambda _: "127.0.0.1", lambda: f"r-{next(ids)}", limits)
    targets = [folder / f"target-{number}" for number in range(AT_ONCE)]
    for target in targets:
        with target.open("wb") as file:
            file.truncate(len(image))
    with serving(StartLine(delivery, AT_ONCE)) as port:
        url = ImageServer.url_of(port)
        store.reads.clear()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for ended in pool.map(lambda target: start_agent(url, str(target)).communicate(timeout=600), targets):
                assert ended is not None
    delivery.close()
    assert all(target.read_bytes() == image for target in targets)
    return Counter(count for name, count in store.reads.items() if re.match("chunks/", name))


def report(runs: Mapping[str, list[Run]], again: float, reads: Mapping[int, int]) -> str:
    """The results as a page."""

    def ratio(name: str, other: str) -> float:
        return statistics.median(one.cpu / two.cpu for one, two in zip(runs[name], runs[other], strict=True))

    def row(name: str) -> str:
        cpu, wall = [each.cpu for each in runs[name]], statistics.median(each.wall for each in runs[name])
        memory = max(each.memory for each in runs[name])
        return (
            f"| {name} | {statistics.median(cpu):.2f} | {min(cpu):.2f} to {max(cpu):.2f} | {ratio(name, FLOOR):.2f} |"
            f" {wall:.1f} | {memory:.0f} MiB |"
        )

    measured = {
        "verified deploy, CPU ÷ qemu-img, which verifies nothing": (ratio(AGENT, FLOOR), FLOORS["cpu"], 1.5),
        "the same without reading back": (ratio(UNREAD, FLOOR), FLOORS["cpu"], 1.5),
        "reading back, CPU with ÷ without": (ratio(AGENT, UNREAD), FLOORS["read-back"], 1.2),
        "cut at half: MiB fetched again": (again, FLOORS["again"], 0),
        "memory of the agent, MiB": (max(each.memory for each in runs[AGENT]), FLOORS["memory"], 64),
        "start of the agent, CPU s": (statistics.median(each.cpu for each in runs[START]), FLOORS["start"], 0.15),
        f"{AT_ONCE} deploys at once: most reads of one chunk from the store": (max(reads), FLOORS["reads"], 2),
    }
    floors = "\n".join(
        f"| {name} | {value:.2f} | {floor:g} | {goal:g} | {'yes' if value <= floor else '**no**'} |"
        for name, (value, floor, goal) in measured.items()
    )
    rows = "\n".join(row(name) for name in runs)
    return f"""# Deployments to a disk

A disk of 4 GiB with {DATA} MiB of data, to a loop device full of other data. {len(runs[FLOOR])} rounds,
{len(os.sched_getaffinity(0))} processors, {os.getloadavg()[1]:.1f} programs that wanted one at the end
(load average of five minutes): where that is more than the processors, other work shares the
machine and wall times say little. `python -m bench.deploy` writes this page.

| program | CPU s, median | all rounds | ÷ qemu-img, median | wall s | memory |
|---|---|---|---|---|---|
{rows}

Only phimage's agent verifies what it writes, and casync, where it has a row. Only the agent writes zeros over everything
else, reads back, and leaves nothing that boots when it is cut. It fetches over HTTP from a server on this machine; the others
read local files.
The {AT_ONCE} deploys, of a disk of 64 MiB, begin together and ask one process of a server, whose store is read as one in S3 is.

| | measured | at least | goal | met |
|---|---|---|---|---|
{floors}
"""


if __name__ == "__main__":
    main()
