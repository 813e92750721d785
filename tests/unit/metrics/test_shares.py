"""Memory that worker processes share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from phimage.metrics.shares import PART_BYTES, Shares


def test_each_worker_takes_a_part_of_its_own() -> None:
    shares = Shares(3)
    assert sorted(shares.take() for _ in range(3)) == [0, 1, 2]
    with pytest.raises(RuntimeError):
        shares.take()


def test_a_worker_reads_what_the_others_wrote_last() -> None:
    shares = Shares(3)
    shares.write(0, b"a long beginning")
    shares.write(0, b"one")
    shares.write(2, b"two")
    assert shares.others(1) == [b"one", b"two"]
    assert shares.others(0) == [b"two"]


def test_what_another_process_wrote_is_seen_here() -> None:
    shares = Shares(2)
    child = os.fork()
    if not child:
        shares.write(shares.take(), b"from the child")
        os._exit(0)
    os.waitpid(child, 0)
    assert shares.take() == 1, "the child took the first"
    assert shares.others(1) == [b"from the child"]


def test_a_process_that_was_started_with_the_file_writes_its_further_part() -> None:
    shares = Shares(2, 2)
    program = (
        "import sys; from phimage.metrics.shares import Place; Place(int(sys.argv[1]), int(sys.argv[2])).write(b'from afar')"
    )
    place = shares.place(1)
    arguments = [sys.executable, "-c", program, str(place.file), str(place.part)]
    subprocess.run(arguments, pass_fds=[place.file], check=True)
    assert shares.further() == [b"from afar"]
    assert shares.others(0) == [], "workers and publishers are told apart"


def test_what_was_half_written_is_not_taken_for_whole() -> None:
    shares = Shares(1)
    shares.write(0, b"whole")
    shares._memory[10] ^= 1
    with pytest.raises(ValueError, match="not whole"):
        shares.read(0)


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    shares = Shares(2)
    shares.write(0, b"before")
    with pytest.raises(ValueError, match="more than a part has"):
        shares.write(0, bytes(PART_BYTES))
    assert shares.others(1) == [b"before"]
