"""Memory that worker processes share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from phimage.metrics.shared import SLOT_BYTES, SharedMetrics


def test_each_worker_takes_a_part_of_its_own() -> None:
    shared = SharedMetrics(3)
    assert sorted(shared.take() for _ in range(3)) == [0, 1, 2]
    with pytest.raises(RuntimeError):
        shared.take()


def test_a_worker_reads_what_the_others_wrote_last() -> None:
    shared = SharedMetrics(3)
    shared.write(0, b"a long beginning")
    shared.write(0, b"one")
    shared.write(2, b"two")
    assert shared.others(1) == [b"one", b"two"]
    assert shared.others(0) == [b"two"]


def test_what_another_process_wrote_is_seen_here() -> None:
    shared = SharedMetrics(2)
    child = os.fork()
    if not child:
        shared.write(shared.take(), b"from the child")
        os._exit(0)
    os.waitpid(child, 0)
    assert shared.take() == 1, "the child took the first"
    assert shared.others(1) == [b"from the child"]


def test_a_process_that_was_started_with_the_file_writes_its_further_slot() -> None:
    shared = SharedMetrics(2, 2)
    program = (
        "import sys; from phimage.metrics.shared import MetricsSlot;"
        " MetricsSlot(int(sys.argv[1]), int(sys.argv[2])).write(b'from afar')"
    )
    slot = shared.further_slot(1)
    arguments = [sys.executable, "-c", program, str(slot.file), str(slot.number)]
    subprocess.run(arguments, pass_fds=[slot.file], check=True)
    assert shared.further() == [b"from afar"]
    assert shared.others(0) == [], "the slots of workers and publishers are separate"


def test_what_was_half_written_is_not_taken_for_whole() -> None:
    shared = SharedMetrics(1)
    shared.write(0, b"whole")
    shared._memory[10] ^= 1
    with pytest.raises(ValueError, match="does not have its checksum"):
        shared.read(0)


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    shared = SharedMetrics(2)
    shared.write(0, b"before")
    with pytest.raises(ValueError, match="more than a slot holds"):
        shared.write(0, bytes(SLOT_BYTES))
    assert shared.others(1) == [b"before"]
