"""`python -m bench.soak`: one hour at half load while the catalogue changes, to see that nothing grows, slows down or fails.

The load is the hot mix. Beside it another process changes images of random projects all the time, and after each change asks
the server until it shows it. Ends with 1 when memory or p99 grew, a request failed, or a change was not seen within a second.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench import catalogue, mixes, servers, wrk
from bench.catalogue import Tenant
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.installation import command_author, open_catalog
from phimage.settings import Settings

SEEN_SECONDS = 1.0
"""Seconds within which a process must show a change of another one."""

Load = Callable[[str, Sequence[str]], wrk.Load]
"""Generates load on an address."""


class Slice(Struct, frozen=True):
    """A part of the soak."""

    load: wrk.Load
    megabytes: float


class Changes(Struct):
    """The result of the changes. `seen` has the seconds until the server showed each."""

    seen: list[float] = []
    failed: str = ""

    def text(self) -> str:
        """In words."""
        if len(self.seen) < 2:
            return f"{len(self.seen)} changes"
        median, p99 = statistics.median(self.seen), statistics.quantiles(self.seen, n=100)[-1]
        steps = f"{median:.2f} s (median), {p99:.2f} s (p99), {max(self.seen):.2f} s (slowest)"
        return f"{len(self.seen)} changes, seen after {steps}"


class Soak(Struct, frozen=True):
    """The whole soak."""

    slices: list[Slice]
    changes: Changes

    def faults(self) -> list[str]:
        """The problems as text; empty without any."""
        found = []
        errors = sum(one.load.errors for one in self.slices)
        if errors:
            found.append(f"{errors} requests failed")
        if self.changes.failed:
            found.append(f"a change failed: {self.changes.failed}")
        slowest = max(self.changes.seen, default=0.0)
        if slowest > SEEN_SECONDS:
            found.append(f"a change was seen only after {slowest:.2f} s")
        quarter = max(1, len(self.slices) // 4)
        early, late = self.slices[:quarter], self.slices[-quarter:]
        if len(self.slices) >= 8:
            grown = _megabytes(late) / _megabytes(early)
            if grown > 1.1:
                found.append(f"memory grew to {grown:.2f} times")
            slower = _p99(late) / _p99(early)
            if slower > 1.5:
                found.append(f"p99 grew to {slower:.2f} times")
        return found


def soak(data: Path, images: int, load: Load, slices: int, each: Callable[[Slice], None] = lambda _: None) -> Soak:
    """Load a server on a data folder, and change its catalogue, for a number of slices."""
    catalog = open_catalog(Settings(data_dir=str(data)))
    try:
        topology = catalog.now(wait=True).topology()
        bodies = mixes.hot(images, topology)
        tenants = [catalogue.tenant(number, topology) for number in range(catalogue.projects(images))]
        changes, found, ended = Changes(), [], threading.Event()
        with servers.phimage(data) as running:
            for body in (*bodies, *map(mixes.own_images, tenants)):  # until it remembers as much as it may
                servers.ask(running.url, body)
            arguments = (catalog, tenants, running.url, changes, ended)
            changing = threading.Thread(target=_change, args=arguments)
            changing.start()
            try:
                for _ in range(slices):
                    found.append(Slice(load(running.url, bodies), running.worker_megabytes()))
                    each(found[-1])
            finally:
                ended.set()
                changing.join()
        return Soak(found, changes)
    finally:
        catalog.database.close()


def _change(catalog: Catalog, tenants: Sequence[Tenant], url: str, changes: Changes, ended: threading.Event) -> None:
    random = Random(catalogue.SEED)
    try:
        while not ended.wait(0.1):
            changes.seen.append(_one_change(catalog, random.choice(tenants), url, f"name-{len(changes.seen)}"))
    except Exception as error:  # noqa: BLE001 - whatever it is, the soak has failed by it
        changes.failed = repr(error)


def _one_change(catalog: Catalog, tenant: Tenant, url: str, name: str) -> float:
    """Rename an image of a project. Returns the seconds until the server shows the new name."""
    image = catalog.now(wait=True).images_of(tenant.project)[0]
    with catalog.change(command_author("Soak")) as change:
        IMAGES.put(change, replace(image, name=name))
    begun = time.perf_counter()
    question = mixes.own_images(tenant)
    while True:
        shown = msgspec.json.decode(servers.ask(url, question))["ImageSet"][0]["ImageName"]
        passed = time.perf_counter() - begun
        if shown == name or passed > 10 * SEEN_SECONDS:
            return passed
        time.sleep(0.01)


def _megabytes(slices: Sequence[Slice]) -> float:
    return statistics.median(one.megabytes for one in slices)


def _p99(slices: Sequence[Slice]) -> float:
    return statistics.median(one.load.p99 for one in slices)


def main() -> None:
    """Run the soak and print its result."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--images", type=int, default=100_000)
    arguments = parser.parse_args()
    images: int = arguments.images
    slices = max(8, round(arguments.minutes * 4))
    seconds = max(1, round(arguments.minutes * 60 / slices))
    with tempfile.TemporaryDirectory(prefix="phimage-soak-") as folder:
        work = Path(folder)
        data = work / "data"
        shutil.copytree(catalogue.folder(images), data)
        pause = 0.0

        def load(url: str, bodies: Sequence[str]) -> wrk.Load:
            nonlocal pause
            if not pause:
                limit = wrk.post(url, bodies, work, 5).requests_per_second
                pause = wrk.half_load_pause(limit)
            return wrk.post(url, bodies, work, seconds, pause=pause)

        found = soak(data, images, load, slices, _tell)
    print(found.changes.text())
    faults = found.faults()
    print("\n".join(faults) or "flat memory, flat p99, no error")
    sys.exit(1 if faults else 0)


def _tell(one: Slice) -> None:
    load = one.load
    print(
        f"{load.requests_per_second:8,.0f} req/s  p99 {load.p99:6.2f} ms  {one.megabytes:5.0f} MB  {load.errors} errors",
        flush=True,
    )


if __name__ == "__main__":
    main()
