"""Downloads of a published disk, in turn with nginx sending the very same files, from a folder and from S3."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field
from tests import shared
from tests.contract import stores

from bench import servers

CLIENTS = 8
FORMS = {"raw": "RawUrl", "raw.zst": "ZstdUrl", "qcow2": "Qcow2Url"}
CURL = ("curl", "-sf", "-o", "/dev/null")

Phimage = Callable[..., str]


class Downloads(Struct):
    """What all rounds measured: for each name the seconds that passed, and the server's processor seconds."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    processor: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    idle: list[float] = field(default_factory=list)  # MiB of the server
    busy: list[float] = field(default_factory=list)  # at most, with eight clients

    def time(self, name: str, server: int, url: str, clients: int = 1) -> float:
        """Measure clients that download at once. Returns the most memory of the server meanwhile, in MiB."""
        used, begun, busiest = _processor(server), time.perf_counter(), 0.0
        started = [subprocess.Popen([*CURL, url]) for _ in range(clients)]
        while any(client.poll() is None for client in started):
            busiest = max(busiest, _memory(server)) if clients > 1 else 0.0
            time.sleep(0.02 if clients > 1 else 0.002)
        assert all(client.returncode == 0 for client in started), url
        self.seconds[name].append(time.perf_counter() - begun)
        self.processor[name].append(_processor(server) - used)
        return busiest


def measure(found: Downloads, phimage: Phimage, image: str, raw: Path, folder: Path) -> None:
    """A round with a store in a folder. Nothing was downloaded from this server yet. Leaves the files for nginx in `folder`."""
    urls = json.loads(phimage("image", "url", image, "--json"))
    worker = largest_child(phimage.__dict__["pid"])
    found.idle.append(_memory(worker))
    found.time("download raw.zst, first", worker, urls["ZstdUrl"])
    files = folder / "files"
    files.mkdir()
    (files / "disk.raw").symlink_to(raw)
    for form in ("raw.zst", "qcow2"):
        subprocess.run(["curl", "-sf", "-o", files / f"disk.{form}", urls[FORMS[form]]], check=True)
    with nginx(files, folder) as (floor, server):
        for form in FORMS:
            subprocess.run([*CURL, f"{floor}/disk.{form}"], check=True)  # reads it into memory
        for form, name in FORMS.items():
            found.time(f"nginx {form}", server, f"{floor}/disk.{form}")
            found.time(f"download {form}", worker, urls[name])
        busiest = []
        for form in ("raw", "raw.zst"):
            found.time(f"nginx {form}, {CLIENTS} clients", server, f"{floor}/disk.{form}", CLIENTS)
            busiest.append(found.time(f"download {form}, {CLIENTS} clients", worker, urls[FORMS[form]], CLIENTS))
        found.busy.append(max(busiest))


def measure_s3(found: Downloads, phimage: Phimage, image: str) -> None:
    """A round with a store in S3."""
    urls = json.loads(phimage("image", "url", image, "--json"))
    worker = largest_child(phimage.__dict__["pid"])
    found.time("download raw.zst from S3, first", worker, urls["ZstdUrl"])
    for form, name in FORMS.items():
        found.time(f"download {form} from S3", worker, urls[name])


def rows(found: Downloads) -> list[str]:
    """Lines of a table. A ratio is the median of those of the single rounds."""

    def row(name: str, floor: str) -> str:
        seconds = found.seconds[name]
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        ratio = ""
        if floor != name:
            each = [ours / theirs for ours, theirs in zip(seconds, found.seconds[floor], strict=True)]
            ratio = f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
        used = statistics.median(found.processor[name])
        return f"| {name} | {statistics.median(seconds):.2f} | {spread} | {used:.2f} | {ratio} |"

    head = ["| what | seconds | min to max | server's processor | ÷ nginx, same file |", "|---|---:|---:|---:|---:|"]
    lines = []
    for form in FORMS:
        for end in ("", f", {CLIENTS} clients"):
            floor = f"nginx {form}{end}"
            ours = [f"download {form}{end}"]
            if not end:
                ours += [f"download {form}, first", f"download {form} from S3, first", f"download {form} from S3"]
            lines += [row(name, floor) for name in (floor, *ours) if name in found.seconds]
    return head + lines


def memory(found: Downloads) -> str:
    """A sentence about memory."""
    idle, busy = statistics.median(found.idle), max(found.busy)
    return (
        f"Memory of the server: {idle:.0f} MiB idle, {busy:.0f} MiB at most with {CLIENTS} clients, {busy - idle:.0f} MiB more."
    )


@contextmanager
def s3_store() -> Iterator[dict[str, str]]:
    """The variables of a server that keeps its images in an S3 server of its own."""
    shared.begin()
    try:
        folder = shared.server("s3", stores.start)
        address = stores.S3Server((folder / stores.ENDPOINT).read_text(), "bench").new_address()
        yield {"PHIMAGE_STORE": address, **stores.KEYS}
    finally:
        shared.end()


@contextmanager
def nginx(files: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """The address of nginx on a folder, with the configuration of a distribution and sendfile, and its worker."""
    port = servers.free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; user root; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {files}; }} }}\n"
    )
    with subprocess.Popen(["nginx", "-c", config]) as process:
        try:
            time.sleep(0.5)
            yield f"http://127.0.0.1:{port}", largest_child(process.pid)
        finally:
            process.terminate()


def largest_child(pid: int) -> int:
    """The server process below the one that was started: not the publisher, which is idle and small."""
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return max(children, key=lambda child: "publisher" not in Path(f"/proc/{child}/cmdline").read_text())


def _memory(pid: int) -> float:
    """Resident MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def _processor(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
