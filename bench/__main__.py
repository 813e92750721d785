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
PARTS: dict[str, Callable[[bool, Announce], Figures]] = {
    "list": lambda full, announce: lists.measure(
        lists.Effort(2, ROUNDS if full else 1), lists.SIZES if full else lists.QUICK_SIZES, announce, postgresql=full
    ),
    "start": lambda full, announce: start.measure(ROUNDS if full else 1),
    "publish": lambda full, announce: publishing.measure(ROUNDS if full else 1, announce, with_raw=full),
    "download": lambda full, announce: downloads.measure(ROUNDS if full else 1, announce),
    "gc": lambda full, announce: garbage.measure(ROUNDS if full else 1, announce),
}


def main() -> None:
    """Measure, print, and with `--full` write the pages."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="five rounds, and all catalogues; writes the pages")
    parser.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"only this part: {', '.join(PARTS)}")
    parser.add_argument(
        "--pages", action="store_true", help="measure nothing; write the pages from the parts that were measured"
    )
    arguments = parser.parse_args()
    full: bool = arguments.full
    _require_tools()
    console = Console(stderr=True)
    measured: dict[str, Figures] = {}
    for part in [] if arguments.pages else arguments.only or PARTS:
        begun = time.perf_counter()
        measured[part] = PARTS[part](full, lambda text: console.print(f"{time.strftime('%H:%M:%S')} {text}"))
        console.print(f"{part} took {time.perf_counter() - begun:.0f} s")
        if full:
            save(part, measured[part])
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
