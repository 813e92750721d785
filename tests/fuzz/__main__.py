"""The long form: `python -m tests.fuzz --minutes 10`. With atheris if it can be imported, else with hypothesis.

What is found is written to the corpus as `found-….http`, where the short form tries it again at every `make test`.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

HANG_SECONDS = 30


class Hang(AssertionError):
    """No answer in time."""


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raises Hang when the block takes longer, wherever it is."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no answer in {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def with_hypothesis(seconds: float, batch: int) -> None:
    """Batches of requests, each of them new, until the time is over."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    from tests.fuzz.inputs import ENOUGH, request
    from tests.fuzz.target import seeds, target
    from tests.fuzz.target import written as as_file

    with target() as fuzzed:
        for data in seeds().values():
            fuzzed.check(data)
        failed: list[bytes] = []
        ends, told = time.monotonic() + seconds, time.monotonic()

        @settings(
            max_examples=batch,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(st.binary(min_size=ENOUGH, max_size=ENOUGH))
        def one_batch(choices: bytes) -> None:
            try:
                with no_longer_than(HANG_SECONDS):
                    fuzzed.send(request(choices))
            except BaseException:
                failed.append(as_file(request(choices)))
                raise

        try:
            while time.monotonic() < ends:
                one_batch()
                if time.monotonic() - told > 60:
                    told = time.monotonic()
                    say(f"{fuzzed.inputs} inputs, {ends - told:.0f} seconds left")
        except BaseException:
            if failed:
                say(f"a finding, kept as {keep(failed[-1])}")
            raise
        finally:
            codes = ", ".join(f"{code}: {count}" for code, count in sorted(fuzzed.ret_codes.items()))
            say(f"{fuzzed.inputs} inputs; RetCodes {codes}; the slowest answer took {fuzzed.slowest * 1000:.0f} ms")


def with_atheris(seconds: float) -> None:
    """Inputs that reach new code are kept and changed further. It ends the process itself and says how many it tried."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["phimage"]):
        from tests.api.recording import FOLDER, parse
        from tests.fuzz.inputs import request
        from tests.fuzz.target import CORPUS, target
        from tests.fuzz.target import written as as_file

    def one(data: bytes) -> None:
        """A file of the corpus, or after a zero byte what decides a request."""
        sent = request(data[1:]) if data[:1] == b"\0" else parse(data)
        try:
            with no_longer_than(HANG_SECONDS):
                fuzzed.send(sent)
        except BaseException:
            say(f"a finding, kept as {keep(as_file(sent))}")
            raise

    with target() as fuzzed, tempfile.TemporaryDirectory(prefix="phimage-corpus-") as new:
        limits = [f"-max_total_time={seconds:.0f}", "-max_len=4096", "-print_final_stats=1", f"-artifact_prefix={new}/"]
        atheris.Setup([sys.argv[0], *limits, new, str(CORPUS), str(FOLDER)], one)
        atheris.Fuzz()


def keep(data: bytes) -> Path:
    """Put an input into the corpus."""
    import hashlib

    from tests.fuzz.target import CORPUS

    path = CORPUS / f"found-{hashlib.sha256(data).hexdigest()[:8]}.http"
    path.write_bytes(data)
    return path


def say(text: str) -> None:
    """Tell how it goes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and begin."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="fuzz the gateway with raw HTTP requests")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--batch", type=int, default=2000, help="requests that hypothesis makes at once")
    parser.add_argument(
        "--engine", choices=["atheris", "hypothesis"], default="atheris" if find_spec("atheris") else "hypothesis"
    )
    given = parser.parse_args()
    say(f"{given.engine}, {given.minutes:g} minutes")
    if given.engine == "atheris":
        with_atheris(given.minutes * 60)
    else:
        with_hypothesis(given.minutes * 60, given.batch)


if __name__ == "__main__":
    main()
