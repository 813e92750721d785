"""`python -m bench`: the list, the start, publishing, downloading and collecting garbage, each beside its floors.

As it is, a quick look of about three minutes: one short round of everything, printed and not kept. With `--full` five rounds;
each part is kept in bench/.cache, and RESULTS.md and RESULTS-images.md are written from all parts that were measured. `--only`
measures some parts, so that a full measurement can be made in pieces. Catalogues and the disk are made once and kept.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from bench import downloads, garbage, lists, pages, publishing, start, wrk
from bench.figures import Figures, load, save

HERE = Path(__file__).parent
ROUNDS = 5
TOOLS = {"nginx": "nginx-light", "qemu-img": "qemu-utils", "zstd": "zstd", "openssl": "openssl", "curl": "curl"}

Announce = Callable[[str], None]
Measure = Callable[[Figures, int, bool, Announce], None]
PARTS: dict[str, Measure] = {
    "list": lambda figures, rounds, full, announce: lists.measure(
        figures, lists.Effort(2, rounds), lists.SIZES if full else lists.QUICK_SIZES, announce, postgresql=full
    ),
    "start": lambda figures, rounds, full, announce: start.measure(figures, rounds),
    "publish": lambda figures, rounds, full, announce: publishing.measure(figures, rounds, announce, with_raw=full),
    "download": lambda figures, rounds, full, announce: downloads.measure(figures, rounds, announce),
    "gc": lambda figures, rounds, full, announce: garbage.measure(figures, rounds, announce),
}


def main() -> None:
    """Measure, print, and with `--full` write the pages."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="five rounds, and all catalogues; writes the pages")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"only this part: {', '.join(PARTS)}")
    parser.add_argument(
        "--pages", action="store_true", help="measure nothing; write the pages from the parts that were measured"
    )
    parser.add_argument("--rounds", type=int, help=f"rounds of everything (1, with --full {ROUNDS})")
    arguments = parser.parse_args()
    full: bool = arguments.full
    rounds: int = arguments.rounds or (ROUNDS if full else 1)
    _require_tools()
    console = Console(stderr=True)
    measured: dict[str, Figures] = {}
    for part in [] if arguments.pages else arguments.only or PARTS:
        figures = measured[part] = Figures()
        begun = time.perf_counter()
        try:
            PARTS[part](figures, rounds, full, lambda text: console.print(f"{time.strftime('%H:%M:%S')} {text}"))
        finally:  # whole rounds are worth keeping when somebody interrupts the last one
            if full:
                save(part, figures)
        console.print(f"{part} took {time.perf_counter() - begun:.0f} s")
    if full or arguments.pages:
        measured = {part: found for part in PARTS if (found := load(part)) is not None}
    date = time.strftime("%Y-%m-%d")
    texts = {"RESULTS.md": pages.results(measured, date), "RESULTS-images.md": pages.images(measured, date)}
    for name, text in texts.items():
        print(text)
        if full or arguments.pages:
            (HERE / name).write_text(text)


def _require_tools() -> None:
    wrk.find()
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise SystemExit(f"the measurement needs {tool}; on Debian: apt-get install {package}")


if __name__ == "__main__":
    main()
