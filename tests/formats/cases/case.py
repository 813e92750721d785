"""A file and the verdicts on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from phimage.formats.table import Format
from tests.formats import make
from tests.formats.make import MIB

BAIT = b"/bait/secret"
SIZE = 4 * MIB
DISK = make.gpt(SIZE, [(make.LINUX, 2048, 4095, "root")])

FOREIGN = "oslo.utils takes it for a raw disk; the CVE-2024-32498 family begins like that"
HYBRID = "oslo.utils knows one format a file; hybrids are how installers boot from a stick"


class Case(NamedTuple):
    """A file. `refused` are the findings that refuse it, none for an accepted one. `oslo` is the verdict of oslo.utils."""

    name: str
    image: Callable[[], bytes]
    format: Format
    refused: frozenset[str]
    oslo: bool
    why: str
    size: int | None


def case(
    name: str,
    image: Callable[[], bytes],
    format: Format,
    *refused: str,
    oslo: bool | None = None,
    why: str = "",
    size: int | None = SIZE,
) -> Case:
    """A case. Without `oslo` both agree; `size` is the virtual size of a good one."""
    agrees = not refused
    return Case(name, image, format, frozenset(refused), agrees if oslo is None else oslo, why, None if refused else size)


def stricter(name: str, image: Callable[[], bytes], format: Format, *refused: str) -> Case:
    """A case that oslo.utils accepts because it does not check that far."""
    return case(name, image, format, *refused, oslo=True, why="oslo.utils does not look at it")


def raw_disk() -> bytes:
    """A good disk."""
    return bytes(DISK)


class Written(NamedTuple):
    """A case and its file."""

    case: Case
    path: Path


def write(image: bytes, path: Path) -> Path:
    """Write an image with its zeros at the end as a hole."""
    with path.open("wb") as file:
        file.write(image.rstrip(b"\0"))
        file.truncate(len(image))
    return path


def write_all(cases: Iterable[Case], folder: Path) -> list[Written]:
    """Write the files of cases, each under its number."""
    return [Written(case, write(case.image(), folder / f"{number:03}")) for number, case in enumerate(cases)]
