"""qemu-img, always told the format and the one file, always inside of a cell (`cell.py`).

The program is given open files, never names: `/proc/self/fd/N` through `--image-opts` with the driver of the format over
the driver `file`. So nothing in a name or in a header can choose another protocol, and the file examined is the file converted.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from phimage.errors import SetupError
from phimage.formats import child
from phimage.formats.failure import QemuFailed
from phimage.formats.limits import GIB
from phimage.formats.signature import Format

DRIVERS: Mapping[Format, str] = {
    Format.RAW: "raw",
    Format.ISO: "raw",
    Format.QCOW2: "qcow2",
    Format.VMDK: "vmdk",
    Format.VHD: "vpc",
    Format.VHDX: "vhdx",
}

OPTIONS: Mapping[Format, str] = {Format.VHD: ",force_size_calc=current_size"}
"""The size of a VHD is the one that its specification calls the current one, whatever program wrote it."""

PLACES: Final = "/usr/bin:/usr/local/bin:/bin"
NOBODY: Final = 65534
"""The user that owns nothing: the kernel's overflow id, and the number of `nobody` almost everywhere."""

_PERCENT = re.compile(rb"\((\d+\.\d+)/100%\)")

Progress = Callable[[float], None]
"""Is told the share that is done, from 0 to 1, a few times a second. An exception from it stops the conversion."""


class Bounds(Struct, frozen=True):
    """What a run of qemu-img may take: wall and CPU seconds, bytes of address space."""

    seconds: float = 3600
    cpu_seconds: int = 3600
    memory: int = 2 * GIB


INFO = Bounds(seconds=60, cpu_seconds=5, memory=GIB)
CONVERT = Bounds()


class Info(Struct, frozen=True):
    """What qemu-img reads from a header. `elsewhere` names what it would open beside the file, "" for nothing."""

    format: str
    virtual_size: int
    elsewhere: str


def info(source: Path | int, format: Format, *, bounds: Bounds = INFO) -> Info:
    """What qemu-img reads from a file that is of a format. An open file may be given instead of its path.

    Raises QemuFailed where it cannot read it, SetupError where it is not installed.
    """
    with _opened(source) as file:
        command = ["info", "--output=json", "--image-opts", _image(file, format)]
        answer = _run(command, bounds, readable=file)
    try:
        facts: dict[str, Any] = msgspec.json.decode(answer, type=dict)
        specific = (facts.get("format-specific") or {}).get("data") or {}
        others = [facts.get("backing-filename"), facts.get("full-backing-filename"), specific.get("data-file")]
        others += [extent["filename"] for extent in specific.get("extents") or [] if extent["filename"] != _name(file)]
        others += ["encryption"] if facts.get("encrypted") else []
        elsewhere = next((str(other) for other in others if other), "")
        return Info(str(facts["format"]), int(facts["virtual-size"]), elsewhere[:200])
    except (msgspec.DecodeError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise QemuFailed(f"qemu-img info gave an answer that makes no sense: {error}") from None


def convert(
    source: Path | int, format: Format, out: Path, *, size: int, progress: Progress | None = None, bounds: Bounds = CONVERT
) -> None:
    """Write the disk inside of a file as a raw one to `out`, which must not exist; zeros become holes.

    `size` is the virtual size from the examination: exactly so many bytes are written, never more. Afterwards `out` is
    complete; it is not synced. On any failure it is gone. Raises QemuFailed, SetupError, and what `progress` raises.
    """
    with _opened(source) as file:
        target = os.open(out, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(target, size)
            command = ["convert", "-p", "-n", "--target-is-zero", "--image-opts", "--target-image-opts"]
            command += [_image(file, format), _image(target, Format.RAW)]
            _run(command, bounds, readable=file, writable=target, output=size, progress=progress)
            if os.fstat(target).st_size != size:
                raise QemuFailed(f"qemu-img wrote {os.fstat(target).st_size} bytes instead of {size}")
        except BaseException:
            out.unlink(missing_ok=True)
            raise
        finally:
            os.close(target)


def program(places: str = PLACES) -> str:
    """Where qemu-img is. Raises SetupError."""
    found = shutil.which("qemu-img", path=places)
    if found is None:
        raise SetupError("qemu-img is not installed; on Debian: apt-get install qemu-utils")
    return found


def _name(file: int) -> str:
    return f"/proc/self/fd/{file}"


def _image(file: int, format: Format) -> str:
    return f"driver={DRIVERS[format]}{OPTIONS.get(format, '')},file.driver=file,file.filename={_name(file)}"


def _run(
    command: list[str],
    bounds: Bounds,
    *,
    readable: int,
    writable: int | None = None,
    output: int = 0,
    progress: Progress | None = None,
) -> bytes:
    user = _user(readable)
    outputs = [] if writable is None else [writable]
    if user is not None:
        for file in outputs:
            os.fchown(file, *user)
    cell = {
        "memory": bounds.memory,
        "seconds": bounds.cpu_seconds,
        "output": output,
        "readable": [readable],
        "writable": outputs,
        "user": user and user[0],
        "group": user and user[1],
        "parent": os.getpid(),
    }
    arguments = [sys.executable, "-I", "-S", str(Path(__file__).with_name("cell.py")), msgspec.json.encode(cell).decode()]
    try:
        return child.run(
            [*arguments, program(), *command],
            files=(readable, *outputs),
            seconds=bounds.seconds,
            name=f"qemu-img {command[0]}",
            heard=_percent(progress) if progress else None,
        )
    finally:
        if user is not None:
            for file in outputs:
                os.fchown(file, os.geteuid(), os.getegid())


def _user(file: int) -> tuple[int, int] | None:
    """As whom to read a file when this is root: as nobody if everyone may, else as its owner. None: as who we are."""
    if os.geteuid() != 0:
        return None
    status = os.fstat(file)
    if status.st_mode & stat.S_IROTH:
        return NOBODY, NOBODY
    return (status.st_uid, status.st_gid) if status.st_uid else None


def _percent(progress: Progress) -> Callable[[bytes], None]:
    def heard(tail: bytes) -> None:
        if found := _PERCENT.findall(tail):
            progress(float(found[-1]) / 100)

    return heard


@contextmanager
def _opened(source: Path | int) -> Iterator[int]:
    """The file, open for reading only. A block device is read too."""
    if isinstance(source, int):
        yield source
        return
    file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
