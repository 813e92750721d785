"""`python -m bench`: signed lists of 20 images against one worker, beside the bare server that returns the same bytes."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import urllib3
from rich.progress import track

from bench import servers, wrk
from phimage import __version__, demo
from phimage.settings import Settings

RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    """Measure, print, and write RESULTS.md."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of one run (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server, in turn (default 5)")
    arguments = parser.parse_args()
    wrk.find()
    with tempfile.TemporaryDirectory(prefix="phimage-bench-") as folder:
        text = listing(Path(folder), arguments.seconds, arguments.rounds)
    print(text)
    RESULTS.write_text(text)


def listing(work: Path, seconds: int, rounds: int) -> str:
    """One signed list, again and again: both servers in turn, so that a drift of the machine hits both."""
    data = work / "data"
    demo.fill(Settings(data=str(data)))
    with servers.phimage(data) as url, demo.client(url) as client:
        body = urlencode(client.signed("DescribePHostImage", Region=demo.REGION, Zone=demo.ZONE))
        answer = work / "answer.json"
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer.write_bytes(urllib3.request("POST", url, body=body, headers=kind).data)
        with servers.bare(answer) as floor:
            runs = [
                (wrk.post(floor, [body], work, seconds), wrk.post(url, [body], work, seconds))
                for _ in track(range(rounds), description="measuring")
            ]
    return _report(runs, answer.stat().st_size, seconds)


def _report(runs: list[tuple[wrk.Load, wrk.Load]], size: int, seconds: int) -> str:
    rows = []
    for name, loads in (("bare server, same bytes", [run[0] for run in runs]), ("phimage", [run[1] for run in runs])):
        rows.append(
            f"| {name} | {statistics.median(load.requests_per_second for load in loads):,.0f} "
            f"| {statistics.median(load.p50 for load in loads):.2f} | {statistics.median(load.p99 for load in loads):.2f} "
            f"| {sum(load.errors for load in loads)} |"
        )
    ratios = [ours.requests_per_second / floor.requests_per_second for floor, ours in runs]
    return f"""# Measurements

Written by `make bench` on {time.strftime("%Y-%m-%d")}, phimage {__version__}, Python {platform.python_version()}: a
shared virtual machine with {os.cpu_count()} cores, load generator and server on the same machine. Absolute figures
drift from run to run; the ratios, taken in turn within one run, are what to read.

## A page of 20 images

One worker, `wrk` with {wrk.CONNECTIONS} connections, {len(runs)} runs of {seconds} s each in turn; signed form POSTs of
`DescribePHostImage` over the starter catalogue, {size:,} bytes of JSON in the answer. The floor is the same HTTP
server with a bare handler that returns those bytes and checks nothing.

| server | requests/s (median) | p50 ms | p99 ms | errors |
|---|---:|---:|---:|---:|
{chr(10).join(rows)}

**Ratio to the floor: {statistics.median(ratios):.2f}** (runs from {min(ratios):.2f} to {max(ratios):.2f}).
"""


if __name__ == "__main__":
    main()
