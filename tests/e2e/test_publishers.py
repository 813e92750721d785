"""The publishers of a server are replaced one by one where there is no room for the old and the new."""

from __future__ import annotations

import os
from pathlib import Path

from phimage.metrics.shared import SharedMetrics
from phimage.processes.publishers import Publishers
from phimage.settings import Settings
from tests.e2e.process import wait_until


def publishers_of_this_process() -> set[int]:
    found = set()
    for children in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            if b"\0publisher\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def test_a_publisher_of_new_settings_waits_for_the_slot_of_one_that_ends(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"), publishers=1)
    publishers = Publishers(settings, SharedMetrics(1, publishers=1))
    publishers.start()
    try:
        wait_until(lambda: bool(publishers_of_this_process()), 60)
        old = publishers_of_this_process()
        publishers.change(Settings(data_dir=str(tmp_path / "data"), publishers=1, max_disk_gb=3))

        def is_replaced() -> bool:
            publishers.supervise()
            return bool(publishers_of_this_process() - old)

        wait_until(is_replaced, 60)
    finally:
        publishers.stop()
