"""`python -m bench`: signed lists of 20 images against one worker, beside the bare server that returns the same bytes.

As it is, a quick look: 100,000 images on SQLite, printed and not kept. With `--full` catalogues from 1,000 to 1,000,000 images,
the largest on PostgreSQL too; writes RESULTS.md and sizes.png. Catalogues are made once and kept in bench/.cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from tests.postgresql import own_server

from bench import catalogue, measure, peers, plot, report, wrk
from phimage.installation import open_catalog
from phimage.model.topology import Topology
from phimage.settings import Settings

HERE = Path(__file__).parent
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK = 100_000
BUFFERS = "256MB"
"""`shared_buffers` of PostgreSQL; the largest catalogue has 1 GB."""


def main() -> None:
    """Measure, print, and with `--full` write RESULTS.md."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all sizes and both databases; writes RESULTS.md")
    parser.add_argument("--peers", action="store_true", help="other programs that list images as well")
    parser.add_argument("--seconds", type=int, help="length of one run (default 2, with --full 5)")
    parser.add_argument("--rounds", type=int, help="runs of each (default 3, with --full 5)")
    parser.add_argument("--images", type=int, default=QUICK, help=f"size for the quick look (default {QUICK:,})")
    parser.add_argument("--postgresql", action="store_true", help="the quick look on PostgreSQL as well")
    arguments = parser.parse_args()
    full: bool = arguments.full
    sizes = SIZES if full else (arguments.images,)
    effort = measure.Effort(arguments.seconds or (5 if full else 2), arguments.rounds or (5 if full else 3))
    wrk.find()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder, console.status("measuring") as status:
        found = list(_catalogues(sizes, full or arguments.postgresql, Path(folder), effort, status.update))
        others = peers.all_of_them(Path(folder), effort, status.update) if arguments.peers else []
    if full:
        plot.draw(found, HERE / "sizes.png")
    text = report.page(found, others, effort, time.strftime("%Y-%m-%d"), "sizes.png" if full else None)
    print(text)
    if full:
        (HERE / "RESULTS.md").write_text(text)


def _catalogues(
    sizes: Sequence[int], postgresql: bool, work: Path, effort: measure.Effort, announce: measure.Announce
) -> Iterator[measure.Catalogue]:
    places = []
    for images in sizes:
        announce(f"{images:,} images: the catalogue, which takes a while the first time")
        places.append(measure.Place(catalogue.folder(images), "", images))
        topology = _topology(Settings(data_dir=str(places[-1].data)))
        yield measure.catalogue(places[-1], places[0], topology, work, effort, announce)
    if postgresql:
        announce(f"{sizes[-1]:,} images: the catalogue on PostgreSQL, which takes a while")
        with _on_postgresql(sizes[-1], work) as settings:
            place = measure.Place(settings.data_folder, settings.database, sizes[-1])
            yield measure.catalogue(place, places[0], _topology(settings), work, effort, announce)


@contextmanager
def _on_postgresql(images: int, work: Path) -> Iterator[Settings]:
    with own_server(BUFFERS) as server:
        name = server.create()
        settings = Settings(data_dir=str(work / "data"), database=server.url(name))
        catalogue.fill(settings, images)
        server.run(name, "VACUUM ANALYZE")  # which a server in use does by itself
        yield settings


def _topology(settings: Settings) -> Topology:
    catalog = open_catalog(settings)
    try:
        return catalog.now(wait=True).topology()
    finally:
        catalog.database.close()


if __name__ == "__main__":
    main()
