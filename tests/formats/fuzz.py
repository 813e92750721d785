"""The long form: `python -m tests.formats.fuzz --minutes 5`. With atheris if it can be imported, else with random bytes.

What is found is written to `corpus/found-….bin`, where the short form tries it again at every `make test`. With `--qemu` each
file that our reader takes is given to qemu-img too: how often the two differ is told, and none may name another file.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from phimage.formats import qemu
from phimage.formats.errors import QemuFailed
from phimage.formats.reader import ReaderAt

CORPUS = Path(__file__).with_name("corpus")
HANG_SECONDS = 20


class Fuzzer:
    """Examines files and counts the results."""

    def __init__(self, *, ask_qemu: bool, folder: Path) -> None:
        self.verdicts: Counter[str] = Counter()
        self.slowest = 0.0
        self._file = folder / "file"
        self._ask_qemu = ask_qemu

    def one(self, data: bytes) -> None:
        """Examine one file. Keep an input that causes a defect."""
        from tests.formats.mutation import look, mutate

        started = time.process_time()
        signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
        try:
            file = mutate(data)
            found = look(file)
            refused = found.refusals()
            self.verdicts[refused[0].id if refused else f"taken as {found.format}"] += 1
            if self._ask_qemu and not refused:
                self._second(file, found.format.value, found.virtual_size)
        except BaseException as error:
            if not isinstance(error, KeyboardInterrupt):
                say(f"a finding, kept as {keep(data)}: {error!r}")
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.slowest = max(self.slowest, time.process_time() - started)

    def _second(self, file: ReaderAt, format: str, size: int | None) -> None:
        from phimage.formats.table import Format

        self._file.write_bytes(file.read_at(0, file.size))
        try:
            info = qemu.info(self._file, Format(format))
        except QemuFailed as error:
            self.verdicts[f"{format}: qemu-img refuses what we take ({str(error)[:60]})"] += 1
            return
        assert not info.elsewhere, "qemu-img sees another file"
        if info.virtual_size != size:
            self.verdicts[f"{format}: qemu-img reads another size"] += 1

    def told(self) -> str:
        """The counts so far."""
        lines = "\n".join(f"{count:9} {verdict}" for verdict, count in self.verdicts.most_common(60))
        return f"{self.verdicts.total()} files, the slowest took {self.slowest:.2f} s\n{lines}"


def with_random(fuzzer: Fuzzer, seconds: float, seed: int) -> None:
    """Random bytes from a generator, without feedback."""
    source = random.Random(seed)
    ends, told = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < ends:
        changes = source.choice((0, 1, 1, 2, 3, 6, 12))
        how = bytes([source.randrange(256), source.choice((0, 0, 0, 1, source.randrange(256)))])
        fuzzer.one(how + source.randbytes(8 * changes))
        if time.monotonic() - told > 60:
            told = time.monotonic()
            say(f"{fuzzer.verdicts.total()} files, {ends - told:.0f} seconds left")


def with_atheris(fuzzer: Fuzzer, seconds: float) -> None:
    """Coverage-guided inputs: those that reach new code are kept and mutated. Ends the process itself."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["phimage.formats"]):
        importlib.import_module("tests.formats.mutation")
    with tempfile.TemporaryDirectory(prefix="phimage-corpus-") as new:
        for number in range(64):
            Path(new, f"seed-{number}").write_bytes(bytes([number, 0]))
        limits = [f"-max_total_time={seconds:.0f}", "-max_len=98", "-print_final_stats=1", f"-artifact_prefix={new}/"]
        atheris.Setup([sys.argv[0], *limits, new, str(CORPUS)], fuzzer.one)
        atheris.Fuzz()


def keep(data: bytes) -> Path:
    """Put an input into the corpus."""
    path = CORPUS / f"found-{hashlib.sha256(data).hexdigest()[:8]}.bin"
    path.write_bytes(data)
    return path


def say(text: str) -> None:
    """Print the progress."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and start."""
    parser = argparse.ArgumentParser(prog="python -m tests.formats.fuzz", description="fuzz the readers of disk images")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--qemu", action="store_true", help="ask qemu-img about what our reader takes")
    engines = ["atheris", "random"]
    parser.add_argument("--engine", choices=engines, default="atheris" if find_spec("atheris") else "random")
    given = parser.parse_args()

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer in {HANG_SECONDS} seconds")

    signal.signal(signal.SIGALRM, ring)
    say(f"{given.engine}, {given.minutes:g} minutes, seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="phimage-fuzz-") as folder:
        fuzzer = Fuzzer(ask_qemu=given.qemu, folder=Path(folder))
        if given.engine == "atheris":
            with_atheris(fuzzer, given.minutes * 60)
        else:
            with_random(fuzzer, given.minutes * 60, given.seed)
        say(fuzzer.told())


if __name__ == "__main__":
    main()
