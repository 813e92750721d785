"""T16: a deployment ends in exactly the image, or in nothing that can boot, wherever it is cut; and then it goes on.

The agent is a process that writes to a loop device full of old data. It is killed by bytes that passed, by time, and by strace
between the writes of tail and head; its connection is cut and its server killed. Two careless agents show that the checks can
fail.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.deploying import (
    MIB,
    OLD,
    Expected,
    ImageServer,
    check_deployed,
    check_not_bootable,
    gpt_image,
    loop_device,
    mbr_image,
    needs_loop_devices,
    old_target,
    start_agent,
)
from tests.proxy import CountingProxy
from tests.torture.length import lengths

SEED = 20261129
IMAGE_SIZE = 24 * MIB
LARGER = 30 * MIB + 300 * 4096
CASES = {
    # name: image, sector size, size of the target, options
    "GPT, equal": (gpt_image(IMAGE_SIZE), 512, IMAGE_SIZE, ()),
    "GPT, larger": (gpt_image(IMAGE_SIZE), 512, LARGER, ()),
    "MBR, equal": (mbr_image(IMAGE_SIZE), 512, IMAGE_SIZE, ("--sector-size", "512")),
    "MBR, larger": (mbr_image(IMAGE_SIZE), 512, LARGER, ("--sector-size", "512")),
    "GPT of 4K, equal": (gpt_image(IMAGE_SIZE, 4096), 4096, IMAGE_SIZE, ()),
    "GPT of 4K, larger": (gpt_image(IMAGE_SIZE, 4096), 4096, LARGER, ()),
}
NO_PATIENCE = ("--patience", "0")
KILLED = -signal.SIGKILL

pytestmark = [needs_loop_devices]


@dataclass
class Bench:
    """A target with its image's server behind a proxy."""

    server: ImageServer
    proxy: CountingProxy
    device: str
    target: Path
    expected: Expected
    options: tuple[str, ...]

    def renew(self) -> None:
        """Fill the target with old data, as at the beginning."""
        with open(self.device, "r+b", buffering=0) as device:  # noqa: PTH123
            device.writelines(OLD * min(MIB, self.expected.size - at) for at in range(0, self.expected.size, MIB))
        subprocess.run(["blockdev", "--flushbufs", self.device], check=True)

    def start(self, *options: str, **started: tuple[str, ...]) -> subprocess.Popen[str]:
        return start_agent(self.server.url(self.proxy.port), self.device, *self.options, *options, **started)  # type: ignore[arg-type]

    def check_aborted(self) -> bool:
        """Check a disk whose agent did not end well. Returns False if it was killed when all was done."""
        subprocess.run(["blockdev", "--flushbufs", self.device], check=True)
        with self.target.open("rb") as file:
            begins = file.read(512)
        if begins == self.expected.image[:446] + begins[446:]:
            check_deployed(self.target, self.expected)
            return False
        check_not_bootable(self.device, self.target, self.expected)
        return True

    def go_on(self) -> str:
        """Deploy again, to the end, and check the disk."""
        process = self.start()
        said = process.communicate(timeout=120)[1]
        assert process.returncode == 0, said
        subprocess.run(["blockdev", "--flushbufs", self.device], check=True)
        check_deployed(self.target, self.expected)
        return said


@contextmanager
def bench(folder: Path, case: str) -> Iterator[Bench]:
    image, sector, size, options = CASES[case]
    folder.mkdir(exist_ok=True)
    server = ImageServer(folder, image)
    proxy = CountingProxy(server.port)
    try:
        with old_target(size) as target, loop_device(target, sector) as device:
            yield Bench(server, proxy, device, target, Expected(image, sector, size), options)
    finally:
        proxy.close()
        server.close()


def steered(*options: str) -> tuple[str, ...]:
    """A command that runs another one and kills it, or fails its system calls, at a place."""
    return ("strace", "-f", "-qq", "-o", "/dev/null", *options)


KILL_BEFORE_HEAD = (
    # The main thread's: head and tail of zeros, tail, head but for two sectors, these.
    steered("-e", "inject=pwrite64:signal=KILL:when=4"),
    steered("-e", "inject=pwrite64:signal=KILL:when=5"),
    steered("-e", "inject=fsync:signal=KILL:when=3"),
)


@lengths("cuts", 12, 200)
def test_t16_a_cut_leaves_nothing_that_boots_and_the_same_command_goes_on(tmp_path: Path, cuts: int) -> None:
    some = random.Random(SEED)
    seen: Counter[str] = Counter()
    kinds = (
        ["steered"] * (cuts // 8) + ["kill"] * (cuts // 2 - cuts // 8) + ["cut"] * (cuts * 3 // 10) + ["server"] * (cuts // 5)
    )
    for number, case in enumerate(CASES):
        with bench(tmp_path / f"{number}", case) as at:
            at.proxy.act(sys.maxsize, lambda: None)
            began = time.monotonic()
            at.go_on()
            seconds, all_bytes = time.monotonic() - began, at.proxy.passed
            for kind in kinds[number :: len(CASES)]:
                at.renew()
                aborted = cut(at, kind, some, seconds, all_bytes) and at.check_aborted()
                seen[f"{kind}, {'aborted' if aborted else 'done'}"] += 1
                said = at.go_on()
                seen["went on with what was there"] += " 0 were right before" not in said
    assert seen["steered, aborted"] == cuts // 8
    assert sum(count for name, count in seen.items() if name.endswith(", aborted")) >= cuts * 3 // 4
    assert seen["went on with what was there"] >= cuts // 4


def cut(at: Bench, kind: str, some: random.Random, seconds: float, all_bytes: int) -> bool:
    """Deploy, and end it in some way before it is done. Returns whether that was so."""
    where = some.randrange(all_bytes * 95 // 100)
    if kind == "steered":
        process = at.start(before=some.choice(KILL_BEFORE_HEAD))
    elif kind == "kill":
        process = at.start()
        if some.random() < 0.6:
            at.proxy.act(where, process.kill)
        else:
            time.sleep(some.uniform(0.1, seconds))
            process.kill()
    elif kind == "cut":
        at.proxy.act(where, at.proxy.cut)
        process = at.start(*NO_PATIENCE)
    else:
        at.proxy.act(where, at.server.kill)
        process = at.start(*NO_PATIENCE)
    said = process.communicate(timeout=120)[1]
    at.proxy.act(sys.maxsize, lambda: None)
    if kind == "server":
        at.server.kill()
        at.server.start()
    assert process.returncode in (0, 69, KILLED, 128 + signal.SIGKILL), said
    return process.returncode != 0
