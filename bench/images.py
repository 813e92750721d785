"""`python -m bench.images`: publish and download a disk of 4 GiB with about 0.4 GB of data, beside tools that people know.

Every figure is the median of whole runs, and every ratio is of two figures of the same run: publishing to `qemu-img convert`,
downloading to nginx sending the same file and to `zstd -d`. Each round begins with an empty installation, since a second
publication of the same bytes costs little. Needs root, nginx, qemu-img, zstd and curl, and mmdebstrap for the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.images.debian import debian_disk

from bench import servers

MIB = 1 << 20
SIZE = 4 << 30
MORE = 150 * MIB
CLIENTS = 8
CACHE = Path(__file__).parent / ".cache"
RESULTS = Path(__file__).parent / "RESULTS-images.md"

Seconds = dict[str, list[float]]


def main() -> None:
    """Measure, print, and write RESULTS-images.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of everything (default 3)")
    arguments = parser.parse_args()
    files = disks()
    seconds: Seconds = defaultdict(list)
    memory = []
    with tempfile.TemporaryDirectory(prefix="phimage-bench-", dir=CACHE) as folder:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            memory.append(measure(files, Path(folder) / str(number), seconds))
            shutil.rmtree(Path(folder) / str(number))
    text = report(files, seconds, memory)
    print(text)
    RESULTS.write_text(text)


def disks() -> dict[str, Path]:
    """The disk in every form: a real Debian, and seeded bytes, half of them text, up to 0.4 GB. Made once."""
    CACHE.mkdir(exist_ok=True)
    raw, qcow2, packed, zst = (CACHE / f"bench-disk.{name}" for name in ("raw", "qcow2", "c.qcow2", "raw.zst"))
    if not zst.exists():
        subprocess.run(["cp", "--sparse=always", debian_disk(), raw], check=True)
        chance = random.Random(4)
        with raw.open("r+b") as file:
            file.truncate(SIZE)
            for number in range(MORE // MIB):
                file.seek(SIZE // 2 + 3 * number * MIB)
                file.write(chance.randbytes(MIB // 2) + chance.randbytes(MIB // 4).hex().encode())
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2], check=True)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, packed], check=True)
        subprocess.run(["zstd", "-q", "-f", "-3", raw, "-o", zst], check=True)
    return {"raw": raw, "qcow2": qcow2, "qcow2 -c": packed, "raw.zst": zst}


def measure(files: dict[str, Path], folder: Path, seconds: Seconds) -> tuple[float, float]:
    """One round. Returns the server's memory in MiB, idle and with clients."""
    folder.mkdir()

    def timed(name: str, *command: str | Path) -> None:
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds[name].append(time.perf_counter() - begun)

    out = folder / "out"
    timed("qemu-img convert qcow2 to raw", "qemu-img", "convert", "-f", "qcow2", "-O", "raw", files["qcow2"], out)
    timed("qemu-img convert qcow2 -c to raw", "qemu-img", "convert", "-f", "qcow2", "-O", "raw", files["qcow2 -c"], out)
    timed("qemu-img convert raw to qcow2 -c", "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", files["raw"], out)
    timed("sha256sum of the raw disk", "sha256sum", files["raw"])
    timed("zstd -d", "zstd", "-q", "-d", "-f", files["raw.zst"], "-o", "/dev/null")
    for name, file in files.items():
        with installation(folder / name.replace(" ", "")) as phimage:
            digest = subprocess.run(["sha256sum", file], check=True, capture_output=True, text=True).stdout.split()[0]
            begun = time.perf_counter()
            image = phimage("image", "publish", str(file), "--digest", digest, *ABOUT).strip()
            seconds[f"publish {name}"].append(time.perf_counter() - begun)
            if name == "qcow2":
                memory = download(phimage, image, files, folder, seconds, timed)
    return memory


ABOUT = [
    "--type",
    "base",
    "--name",
    "bench",
    "--os-type",
    "Debian",
    "--os-name",
    "Debian 12",
    "--zone",
    "cn-bj2-02",
    "--support",
    "DB-2",
]

Phimage = Callable[..., str]


@contextmanager
def installation(data: Path) -> Iterator[Phimage]:
    """A new installation with the starter catalogue; gives its command, with the operator's key."""
    environment = dict(os.environ, XDG_CONFIG_HOME=str(data / "config"))
    data.mkdir()
    log = data / "log"
    command = [sys.executable, "-m", "phimage", "serve", "--data-dir", str(data / "data"), "--port", "0"]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            while "listening on" not in log.read_text():
                time.sleep(0.05)
            said = [line.split() for line in log.read_text().splitlines()]
            key = {words[0].upper(): words[2] for words in said if words[1:2] == ["key"] and len(words) == 3}
            environment["PHIMAGE_ENDPOINT"] = next(words[2] for words in said if words[:1] == ["listening"])
            environment["PHIMAGE_PUBLIC_KEY"], environment["PHIMAGE_PRIVATE_KEY"] = key["PUBLIC"], key["PRIVATE"]

            def phimage(*arguments: str, text: str | None = None) -> str:
                command = [sys.executable, "-m", "phimage", *arguments]
                ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, input=text)
                return ended.stdout

            phimage("catalog", "apply", "-", text=phimage("catalog", "starter"))
            phimage.__dict__["pid"] = process.pid
            yield phimage
        finally:
            process.terminate()


def download(
    phimage: Phimage, image: str, files: dict[str, Path], folder: Path, seconds: Seconds, timed: Callable[..., None]
) -> tuple[float, float]:
    """Downloads of the published disk and of the same files from nginx. Returns the server's memory, idle and busy."""
    urls = json.loads(phimage("image", "url", image, "--json"))
    curl = ["curl", "-sf", "-o", "/dev/null"]
    with nginx(files["raw"].parent, folder) as floor:
        timed("nginx raw", *curl, f"{floor}/{files['raw'].name}")
        timed("nginx raw.zst", *curl, f"{floor}/{files['raw.zst'].name}")
    timed("download raw", *curl, urls["RawUrl"])
    timed("download raw.zst, first", *curl, urls["ZstdUrl"])
    time.sleep(5)  # the pack is made in the background
    timed("download raw.zst, again", *curl, urls["ZstdUrl"])
    timed("download raw.zst, unpacked", "sh", "-c", f"curl -sf '{urls['ZstdUrl']}' | zstd -q -d -o /dev/null -f")
    timed("download qcow2", *curl, urls["Qcow2Url"])
    worker = _largest_child(phimage.__dict__["pid"])
    idle, busiest = _memory(worker), 0.0
    clients = [subprocess.Popen([*curl, urls["RawUrl"]]) for _ in range(CLIENTS)]
    while any(client.poll() is None for client in clients):
        busiest = max(busiest, _memory(worker))
        time.sleep(0.05)
    assert all(client.returncode == 0 for client in clients)
    return idle, busiest


@contextmanager
def nginx(files: Path, folder: Path) -> Iterator[str]:
    """nginx on a folder, with the configuration of a distribution and sendfile."""
    port = servers.free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; user root; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {files}; }} }}\n"
    )
    with subprocess.Popen(["nginx", "-c", config]) as process:
        try:
            time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _largest_child(pid: int) -> int:
    """The server process below the one that was started: not the publisher, which is idle and small."""
    children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return max(children, key=lambda child: "publisher" not in Path(f"/proc/{child}/cmdline").read_text())


def _memory(pid: int) -> float:
    """Resident MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def report(files: dict[str, Path], seconds: Seconds, memory: list[tuple[float, float]]) -> str:
    """The results as a page."""
    median = {name: statistics.median(values) for name, values in seconds.items()}

    def row(name: str, *floors: str) -> str:
        spread = f"{min(seconds[name]):.2f} to {max(seconds[name]):.2f}"
        ratios = "; ".join(
            f"{statistics.median(a / b for a, b in zip(seconds[name], seconds[floor], strict=True)):.2f} x {floor}"
            for floor in floors
        )
        return f"| {name} | {median[name]:.2f} | {spread} | {ratios} |"

    def publish(name: str) -> str:
        return row(f"publish {name}", "qemu-img convert qcow2 to raw", "qemu-img convert raw to qcow2 -c")

    idle, busy = (statistics.median(values) for values in zip(*memory, strict=True))
    stored = files["raw"].stat().st_blocks * 512
    return "\n".join(
        [
            "# Publishing and downloading, measured",
            "",
            f"A disk of 4 GiB with {stored / MIB:.0f} MiB of data: a Debian 12 and seeded bytes. A virtual machine,",
            f"two cores, 24 GiB of memory; {len(memory)} rounds, medians; seconds of whole runs, the command's start included.",
            "The server, the publisher, the client and the tools beside them share the cores. Ratios are of the same round.",
            "",
            "| what | seconds | min to max | ratio |",
            "|---|---:|---:|---|",
            *(row(name) for name in median if name.startswith(("qemu-img", "sha256sum", "zstd", "nginx"))),
            *(publish(name) for name in files),
            row("download raw", "nginx raw", "zstd -d"),
            row("download qcow2", "nginx raw"),
            row("download raw.zst, first", "nginx raw.zst", "zstd -d"),
            row("download raw.zst, again", "nginx raw.zst", "zstd -d"),
            row("download raw.zst, unpacked", "zstd -d"),
            "",
            f"Memory of the server process: {idle:.0f} MiB idle, {busy:.0f} MiB at most while {CLIENTS} clients download",
            f"the raw disk, {busy - idle:.0f} MiB more.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
