"""`python -m bench.capture`: capture a disk of 4 GiB with about 0.4 GB of data, beside tools that copy or store disks.

Each round captures the same loop device with each in turn, from an empty target. Figures are processor seconds, user and
system, of the program and its children, so other work on the machine disturbs them little; ratios are of the same round. Needs
root, qemu-img, partclone, zstd and casync, and mmdebstrap for the disk.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from msgspec import Struct
from tests.deploying import loop_device
from tests.images.debian import START, debian_disk
from tests.upload_server import TICKET
from tests.uploading import connects, free_port

from bench.deploy import Run, run
from bench.disk import CACHE, MIB, SIZE
from phimage.chunk_upload import CHUNK
from phimage.zstd_frame import LEVEL, compress

RESULTS = Path(__file__).parent / "RESULTS-capture.md"
AGENT = "capture to a server"
FLOOR = "qemu-img convert -c, zstd"
CHANGED = 0.05
MORE = 150
FLOORS = {"cpu": 1.5, "sent": 1.2, "memory": 96, "start": 0.3}


class Second(Struct, frozen=True):
    """A capture of a disk of which some chunks changed since the last one: bytes sent, and bytes of their frames."""

    sent: int
    frames: int
    changed: int
    cpu: float


def main() -> None:
    """Measure, print, and write RESULTS-capture.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.capture", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of everything (default 5)")
    arguments = parser.parse_args()
    raw = make_disk()
    runs: dict[str, list[Run]] = defaultdict(list)
    seconds: list[Second] = []
    with tempfile.TemporaryDirectory(prefix="phimage-bench-", dir=CACHE) as folder:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            work = Path(folder) / str(number)
            work.mkdir()
            seconds.append(measure(raw, work, runs))
            shutil.rmtree(work)
    text = report(raw, runs, seconds)
    print(text)
    RESULTS.write_text(text)


def make_disk() -> Path:
    """A Debian on a disk of 4 GiB, and behind it 150 MiB of seeded bytes, a quarter of them text. Made once."""
    CACHE.mkdir(exist_ok=True)
    raw = CACHE / "captured-disk.raw"
    if not raw.exists():
        draft, chance = raw.with_suffix(".draft"), random.Random(4)
        subprocess.run(["cp", "--sparse=always", debian_disk(), draft], check=True)
        draft.chmod(0o644)
        with draft.open("r+b") as file:
            file.truncate(SIZE)
            for number in range(MORE):
                file.seek(SIZE // 2 + 3 * number * MIB)
                file.write(chance.randbytes(MIB // 2) + chance.randbytes(MIB // 4).hex().encode())
        draft.rename(raw)
    return raw


def measure(raw: Path, folder: Path, runs: dict[str, list[Run]]) -> Second:
    """One round."""
    used = folder / "disk.raw"
    subprocess.run(["cp", "--sparse=always", raw, used], check=True)
    used.chmod(0o600)
    with loop_device(used) as device, server(folder / "store") as (url, server_pid):
        qcow2 = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
        runs[FLOOR].append(run([*qcow2, device, str(folder / "c.qcow2")]))
        before = cpu_of(server_pid)
        runs[AGENT].append(run(agent(device, url)))
        after = cpu_of(server_pid)
        runs["the server meanwhile"].append(Run(after - before, 0, 0))
        runs["capture to a file, .zst"].append(run(agent(device, str(folder / "disk.raw.zst"))))
        with partition(device) as first:
            clone = f"partclone.ext4 -c -q -L {folder}/log -s {first} -o - | zstd -q -T1 > {folder}/clone"
            runs["partclone.ext4 and zstd, one partition"].append(run(["sh", "-c", clone]))
        runs["casync make"].append(run(["casync", "make", f"--store={folder}/casync.castr", f"{folder}/disk.caibx", device]))
        runs["start of the agent"].append(run([sys.executable, "-m", "phimage.agent", "disks"]))
        return second(used, device, url, folder / "store")


def second(used: Path, device: str, url: str, store: Path) -> Second:
    """Change one of twenty chunks with data, and capture again to the same server."""
    before = chunks(used)
    chance = random.Random(16)
    data = [index for index, digest in enumerate(before) if digest]
    with open(device, "r+b") as disk:  # noqa: PTH123  a device
        for index in chance.sample(data, max(1, int(CHANGED * len(data)))):
            disk.seek(index * CHUNK + 65536)
            disk.write(chance.randbytes(4096))
        os.fsync(disk.fileno())
    known = {digest for digest in before if digest}
    changed = [index for index, digest in enumerate(chunks(used)) if digest and digest not in known]
    with used.open("rb") as disk:
        frames = 0
        for index in changed:
            disk.seek(index * CHUNK)
            frames += len(compress(disk.read(CHUNK)))
    had = frames_in(store)
    ended = run(agent(device, url))
    return Second(frames_in(store) - had, frames, len(changed), ended.cpu)


def frames_in(store: Path) -> int:
    """The bytes of all frames that were sent to a server."""
    return sum(file.stat().st_size for file in store.glob("**/chunks/*") if file.is_file())


def agent(device: str, to: str) -> list[str]:
    """The command of a capture."""
    return [sys.executable, "-m", "phimage.agent", "capture", "--disk", device, "--to", to]


def chunks(disk: Path) -> list[bytes]:
    """The digests of all chunks; empty for zeros."""
    found = []
    with disk.open("rb") as file:
        while data := file.read(CHUNK):
            found.append(sha256(data).digest() if any(data) else b"")
    return found


@contextmanager
def partition(device: str) -> Iterator[str]:
    """The first partition of a device as a device of its own."""
    made = subprocess.run(
        ["losetup", "-f", "--show", "-r", "-o", str(START), "--sizelimit", str(399 * MIB), device],
        capture_output=True,
        text=True,
        check=True,
    )
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "-d", made.stdout.strip()], check=True)


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, int]]:
    """The URL of an upload on an empty server, and the server's process."""
    folder.mkdir()
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "tests.upload_server", str(folder), str(port)]) as process:
        try:
            while not connects(port):
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/uploads/job-bench0000000?{TICKET}", process.pid
        finally:
            process.terminate()


def cpu_of(pid: int) -> float:
    """The processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(raw: Path, runs: Mapping[str, list[Run]], seconds: Sequence[Second]) -> str:
    """The results as a page."""

    def row(name: str) -> str:
        cpu = [each.cpu for each in runs[name]]
        ratio = statistics.median(each.cpu / floor.cpu for each, floor in zip(runs[name], runs[FLOOR], strict=True))
        wall = statistics.median(each.wall for each in runs[name])
        memory = max(each.memory for each in runs[name])
        return (
            f"| {name} | {statistics.median(cpu):.2f} | {min(cpu):.2f} to {max(cpu):.2f} | {ratio:.2f} |"
            f" {f'{wall:.1f}' if wall else ''} | {f'{memory:.0f} MiB' if memory else ''} |"
        )

    ratio = statistics.median(each.cpu / floor.cpu for each, floor in zip(runs[AGENT], runs[FLOOR], strict=True))
    memory = max(each.memory for each in runs[AGENT])
    start = statistics.median(each.cpu for each in runs["start of the agent"])
    sent = statistics.median(each.sent / each.frames for each in seconds)
    again = statistics.median(each.cpu for each in seconds)
    last = seconds[-1]
    stored = raw.stat().st_blocks * 512 / MIB
    return "\n".join(
        [
            "# Captures, measured",
            "",
            f"A disk of 4 GiB with {stored:.0f} MiB of data, a Debian 12 and seeded bytes, as a loop device. A machine of",
            f"two cores, 24 GiB; {len(seconds)} rounds, medians; processor seconds of the program and its children. Ratios are",
            f"of the same round, to `{FLOOR}`. The wall time is that of a machine that other work shares.",
            "",
            "| what | processor seconds | min to max | ratio | wall seconds | memory |",
            "|---|---:|---:|---:|---:|---:|",
            *(row(name) for name in runs),
            "",
            "The agent reads every chunk once, compares it with zeros, hashes it, asks, compresses what is needed at level",
            f"{LEVEL} and sends it. casync cuts by content, which costs more and finds more after a rebuild; partclone reads",
            "what its file system uses.",
            "",
            f"After a change of 4 KiB in {last.changed} chunks, one in twenty, a second capture sends {last.sent:,} bytes,",
            f"{sent:.2f} times the frames of these chunks, with {again:.2f} processor seconds.",
            "",
            "| floor | at most | measured |",
            "|---|---:|---:|",
            f"| processor time ÷ `{FLOOR}` | {FLOORS['cpu']} | {ratio:.2f} |",
            f"| second capture: bytes sent ÷ frames of the changed chunks | {FLOORS['sent']} | {sent:.2f} |",
            f"| memory of the agent | {FLOORS['memory']} MiB | {memory:.0f} MiB |",
            f"| start of the agent, processor seconds | {FLOORS['start']} | {start:.2f} |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
