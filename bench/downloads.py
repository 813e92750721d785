"""Downloads of a published disk, in turn with nginx sending the very same files, from a folder and from S3."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench import disk, processes, servers
from bench.figures import Figures
from bench.publishing import publish, s3_store, work_folder

CLIENTS = 8
FORMS = {"raw": "RawUrl", "raw.zst": "ZstdUrl", "qcow2": "Qcow2Url"}
CURL = ("curl", "-sf", "-o", "/dev/null")

Announce = Callable[[str], None]


def measure(figures: Figures, rounds: int, announce: Announce) -> None:
    """Rounds of everything, each with a server that has sent nothing before."""
    files = disk.disks()
    figures.about = "Seconds"
    with work_folder() as work, s3_store() as variables:
        announce("downloading: the disk is published")
        with servers.installation(work / "s3", variables) as kept:
            image = publish(Figures(), kept, files.qcow2, "")
            for number in range(rounds):
                announce(f"downloading from S3, round {number + 1}")
                _from_s3(figures, kept, image)
        with servers.installation(work / "folder") as kept:
            image = publish(Figures(), kept, files.qcow2, "")
            _files(kept, image, files.raw, work / "files")
        for number in range(rounds):
            announce(f"downloading, round {number + 1}")
            with servers.again(work / "folder", kept) as server, servers.nginx(work / "files", work) as (url, nginx):
                _round(figures, server, image, url, nginx)


def _round(figures: Figures, kept: servers.Installation, image: str, floor: str, nginx: int) -> None:
    urls = json.loads(kept.command("image", "url", image, "--json"))
    worker = processes.worker(kept.process)
    idle = processes.megabytes(worker)
    figures.add("MB of the server, idle", idle)
    for form in FORMS:
        subprocess.run([*CURL, f"{floor}/disk.{form}"], check=True)  # reads it into memory
    _time(figures, "nginx raw.zst", nginx, f"{floor}/disk.raw.zst")
    _time(figures, "download raw.zst, first", worker, urls["ZstdUrl"])
    for form, name in FORMS.items():
        if form != "raw.zst":
            _time(figures, f"nginx {form}", nginx, f"{floor}/disk.{form}")
        _time(figures, f"download {form}", worker, urls[name])
    for form in ("raw", "raw.zst"):
        end = f", {CLIENTS} clients"
        _time(figures, f"nginx {form}{end}", nginx, f"{floor}/disk.{form}", CLIENTS)
        with processes.peak(worker) as peak:
            _time(figures, f"download {form}{end}", worker, urls[FORMS[form]], CLIENTS)
        figures.add(f"MB of the server above idle, {form}{end}", peak.megabytes - idle)


def _from_s3(figures: Figures, kept: servers.Installation, image: str) -> None:
    urls = json.loads(kept.command("image", "url", image, "--json"))
    worker = processes.worker(kept.process)
    for form, name in FORMS.items():
        _time(figures, f"download {form} from S3", worker, urls[name])


def _files(kept: servers.Installation, image: str, raw: Path, folder: Path) -> None:
    """Write the files that phimage sends into a folder for nginx."""
    folder.mkdir()
    urls = json.loads(kept.command("image", "url", image, "--json"))
    (folder / "disk.raw").symlink_to(raw)
    for form in ("raw.zst", "qcow2"):
        subprocess.run(["curl", "-sf", "-o", folder / f"disk.{form}", urls[FORMS[form]]], check=True)


def _time(figures: Figures, name: str, server: int, url: str, clients: int = 1) -> None:
    """Measure clients that download at once."""
    used, begun = processes.processor_seconds(server), time.perf_counter()
    started = [subprocess.Popen([*CURL, url]) for _ in range(clients)]
    ends = [client.wait() for client in started]
    if any(ends):
        raise RuntimeError(f"a download of {url} failed")
    figures.add(name, time.perf_counter() - begun)
    figures.add(f"{name}: server's processor", processes.processor_seconds(server) - used)
