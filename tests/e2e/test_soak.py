"""The soak of `bench/soak.py`, scaled down: a real server under load while another process changes its catalogue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pytest
from bench import catalogue, servers, wrk
from bench.soak import soak

from phimage.settings import Settings

pytestmark = pytest.mark.more

IMAGES = 2_000
SLICES, SLICE_SECONDS = 10, 1.0
MAX_GROWTH = 1.25
"""Of memory, between the middle and the end. A leak of a kilobyte a request would be more."""


def load(url: str, bodies: Sequence[str]) -> wrk.Load:
    """One client that asks without a rest. `ask` raises when an answer is not a good one."""
    ends, taken, questions = time.monotonic() + SLICE_SECONDS, [], cycle(bodies)
    while time.monotonic() < ends:
        begun = time.perf_counter()
        servers.ask(url, next(questions))
        taken.append((time.perf_counter() - begun) * 1000)
    taken.sort()
    return wrk.Load(len(taken), len(taken) / SLICE_SECONDS, taken[len(taken) // 2], taken[len(taken) * 99 // 100], 0)


def test_under_load_and_changes_nothing_fails_and_memory_stays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    catalogue.fill(Settings(data_dir=str(data)), IMAGES)

    found = soak(data, IMAGES, load, SLICES)

    assert found.changes.failed == ""
    assert len(found.changes.seen) >= 1
    assert sum(one.load.requests for one in found.slices) > SLICES
    assert found.slices[-1].megabytes < MAX_GROWTH * found.slices[SLICES // 2].megabytes
