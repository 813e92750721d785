"""Memory that worker processes share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from phimage.metrics.shared import SLOT_BYTES, SharedMetrics


def joined(ended: bytes, data: bytes) -> bytes:
    return ended + data


def test_each_worker_has_a_part_of_its_own() -> None:
    shared = SharedMetrics(3, 1)
    slots = [shared.claim().number for _ in range(3)]
    assert len({*slots, shared.claim_for_publisher().number}) == 4
    with pytest.raises(RuntimeError):
        shared.claim()


def test_a_worker_reads_what_the_others_wrote_last() -> None:
    shared = SharedMetrics(3)
    one, other, third = shared.claim(), shared.claim(), shared.claim()
    one.write(b"a long beginning")
    one.write(b"one")
    third.write(b"two")
    assert other.read_others().workers == [b"one", b"two"]
    assert one.read_others().workers == [b"two"]


def test_what_another_process_wrote_is_seen_here() -> None:
    shared = SharedMetrics(2)
    mine, its = shared.claim(), shared.claim()
    child = os.fork()
    if not child:
        its.write(b"from the child")
        os._exit(0)
    os.waitpid(child, 0)
    assert mine.read_others().workers == [b"from the child"]


def test_a_process_that_was_started_with_the_file_writes_its_own_slot() -> None:
    shared = SharedMetrics(2, 2)
    program = (
        "import sys; from phimage.metrics.shared import MetricsSlot;"
        " MetricsSlot(int(sys.argv[1]), int(sys.argv[2])).write(b'from afar')"
    )
    shared.claim_for_publisher()
    slot = shared.claim_for_publisher()
    arguments = [sys.executable, "-c", program, str(slot.file), str(slot.number)]
    subprocess.run(arguments, pass_fds=[slot.file], check=True)
    found = shared.claim().read_others()
    assert (found.workers, found.publishers) == ([], [b"from afar"]), "the slots of workers and publishers are separate"


def test_the_slot_of_an_ended_process_is_used_again_and_what_it_counted_stays() -> None:
    shared = SharedMetrics(2)
    mine, its = shared.claim(), shared.claim()
    for data in (b"first ", b"second ", b""):
        its.write(data)
        shared.release(its.number, joined)
        its = shared.claim()
    assert mine.read_others() == ([], [], b"first second ")


def test_what_a_killed_process_wrote_by_half_is_left_out() -> None:
    shared = SharedMetrics(2)
    mine, its = shared.claim(), shared.claim()
    its.write(b"whole")
    shared._memory[its.number * SLOT_BYTES + 10] ^= 1
    assert mine.read_others().workers == []
    shared.release(its.number, joined)
    assert mine.read_others() == ([], [], b"")


def test_what_was_half_written_is_not_taken_for_whole() -> None:
    shared = SharedMetrics(1)
    shared.write(0, b"whole")
    shared._memory[10] ^= 1
    with pytest.raises(ValueError, match="does not have its checksum"):
        shared.read(0)


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    shared = SharedMetrics(2)
    mine, its = shared.claim(), shared.claim()
    its.write(b"before")
    with pytest.raises(ValueError, match="more than a slot holds"):
        its.write(bytes(SLOT_BYTES))
    assert mine.read_others().workers == [b"before"]
