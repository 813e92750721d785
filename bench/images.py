"""`python -m bench.images`: publish and download a disk of 4 GiB with about 0.4 GB of data, beside tools that people know.

Every figure is the median of whole runs, and every ratio is of two figures of the same run: publishing to `qemu-img convert`,
downloading to nginx sending the same file (`bench.downloads`). Each round begins with an empty installation, since a second
publication of the same bytes costs little. Needs root, nginx, qemu-img, zstd and curl, and mmdebstrap for the disk.
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.images.debian import debian_disk

from bench import downloads

MIB = 1 << 20
SIZE = 4 << 30
MORE = 150 * MIB
CACHE = Path(__file__).parent / ".cache"
RESULTS = Path(__file__).parent / "RESULTS-images.md"

Seconds = dict[str, list[float]]


def main() -> None:
    """Measure, print, and write RESULTS-images.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of everything (default 5)")
    arguments = parser.parse_args()
    files = disks()
    seconds: Seconds = defaultdict(list)
    downloaded = downloads.Downloads()
    with tempfile.TemporaryDirectory(prefix="phimage-bench-", dir=CACHE) as folder:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
            measure(files, Path(folder) / str(number), seconds, downloaded)
            shutil.rmtree(Path(folder) / str(number))
    text = report(files, seconds, downloaded)
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


def measure(files: dict[str, Path], folder: Path, seconds: Seconds, downloaded: downloads.Downloads) -> None:
    """One round."""
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
            image = publish(phimage, file, f"publish {name}", seconds)
            if name == "qcow2":
                downloads.measure(downloaded, phimage, image, files["raw"], folder)
    with downloads.s3_store() as variables, installation(folder / "s3", variables) as phimage:
        image = publish(phimage, files["qcow2"], "publish qcow2 to S3", seconds)
        downloads.measure_s3(downloaded, phimage, image)


def publish(phimage: Phimage, file: Path, name: str, seconds: Seconds) -> str:
    """Publish a file, and return the id of the image."""
    digest = subprocess.run(["sha256sum", file], check=True, capture_output=True, text=True).stdout.split()[0]
    begun = time.perf_counter()
    image = phimage("image", "publish", str(file), "--digest", digest, *ABOUT).strip()
    seconds[name].append(time.perf_counter() - begun)
    return image


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
def installation(data: Path, variables: Mapping[str, str] | None = None) -> Iterator[Phimage]:
    """A new installation with the starter catalogue; gives its command, with the operator's key."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(data / "config"), **(variables or {})}
    data.mkdir()
    log = data / "log"
    command = [sys.executable, "-m", "phimage", "serve", "--data-dir", str(data / "data"), "--port", "0"]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
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


def report(files: dict[str, Path], seconds: Seconds, downloaded: downloads.Downloads) -> str:
    """The results as a page."""
    median = {name: statistics.median(values) for name, values in seconds.items()}

    def row(name: str, *floors: str) -> str:
        spread = f"{min(seconds[name]):.2f} to {max(seconds[name]):.2f}"
        ratios = "; ".join(
            f"{statistics.median(a / b for a, b in zip(seconds[name], seconds[floor], strict=True)):.2f} x {floor}"
            for floor in floors
        )
        return f"| {name} | {median[name]:.2f} | {spread} | {ratios} |"

    def published(name: str) -> str:
        return row(f"publish {name}", "qemu-img convert qcow2 to raw", "qemu-img convert raw to qcow2 -c")

    stored = files["raw"].stat().st_blocks * 512
    return "\n".join(
        [
            "# Publishing and downloading, measured",
            "",
            f"A disk of 4 GiB with {stored / MIB:.0f} MiB of data: a Debian 12 and seeded bytes. A virtual machine,",
            f"two cores, 24 GiB; {len(downloaded.idle)} rounds, medians; seconds of whole runs from their start.",
            "The server, the publisher, the client and the tools beside them share the cores. Ratios are of the same round.",
            "",
            "| what | seconds | min to max | ratio |",
            "|---|---:|---:|---|",
            *(row(name) for name in median if name.startswith(("qemu-img", "sha256sum", "zstd"))),
            *(published(name) for name in (*files, "qcow2 to S3")),
            "",
            "Downloads, each in turn with nginx sending the same bytes from a file.",
            "`first`: the server has sent nothing of the image before.",
            "",
            *downloads.rows(downloaded),
            "",
            downloads.memory(downloaded),
            "",
        ]
    )


if __name__ == "__main__":
    main()
