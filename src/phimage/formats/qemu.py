"""qemu-img, always with the format and the file given, always in a sandbox (`sandbox.py`).

The program gets open files, never names: `/proc/self/fd/N` through `--image-opts` with the driver of the format over the
driver `file`. So no name or header can choose another protocol, and the examined file is the converted one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from phimage.errors import SetupError
from phimage.formats.errors import QemuFailed
from phimage.formats.limits import GIB, SandboxLimits
from phimage.formats.sandbox import OutputCallback, run_sandboxed
from phimage.formats.table import DISK_FORMATS, Format

PLACES: Final = "/usr/bin:/usr/local/bin:/bin"

INFO: Final = SandboxLimits(seconds=60, cpu_seconds=5, memory=GIB)
CONVERT: Final = SandboxLimits()

_PERCENT = re.compile(rb"\((\d+\.\d+)/100%\)")

ShareCallback = Callable[[float], None]
"""Receives the completed share, from 0 to 1, a few times a second. An exception stops the conversion."""


class QemuInfo(Struct, frozen=True):
    """What qemu-img reads from a header. `elsewhere` names another file or secret that it would need, "" for none."""

    format: str
    virtual_size: int
    elsewhere: str


def info(source: Path | int, format: Format, *, limits: SandboxLimits = INFO, require_walls: bool = True) -> QemuInfo:
    """What qemu-img reads from a file of a format, given as a path or as an open file.

    Raises QemuFailed when it cannot read the file, SetupError when it is not installed or a required wall is missing.
    """
    with _opened(source) as file:
        command = [program(), "info", "--output=json", "--image-opts", _image(file, format)]
        output = run_sandboxed(command, limits, readable=file, require_walls=require_walls)
    try:
        facts: dict[str, Any] = msgspec.json.decode(output, type=dict)
        specific = (facts.get("format-specific") or {}).get("data") or {}
        others = [facts.get("backing-filename"), facts.get("full-backing-filename"), specific.get("data-file")]
        others += [extent["filename"] for extent in specific.get("extents") or [] if extent["filename"] != _name(file)]
        others += ["encryption"] if facts.get("encrypted") else []
        elsewhere = next((str(other) for other in others if other), "")
        return QemuInfo(str(facts["format"]), int(facts["virtual-size"]), elsewhere[:200])
    except (msgspec.DecodeError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise QemuFailed(f"qemu-img info printed invalid JSON: {error}") from None


def convert(
    source: Path | int,
    format: Format,
    out: Path,
    *,
    size: int,
    on_share: ShareCallback | None = None,
    limits: SandboxLimits = CONVERT,
    require_walls: bool = True,
) -> None:
    """Write the disk inside a file as a raw disk to `out`, which must not exist; zeros become holes.

    `size` is the virtual size from the examination: exactly that many bytes are written. On success `out` is complete but not
    synced; on failure it is removed. Raises QemuFailed, SetupError, and what `on_share` raises.
    """
    with _opened(source) as file:
        target = os.open(out, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(target, size)
            command = [program(), "convert", "-p", "-n", "--target-is-zero", "--image-opts", "--target-image-opts"]
            command += [_image(file, format), _image(target, Format.RAW)]
            on_output = _share(on_share) if on_share else None
            run_sandboxed(
                command,
                limits,
                readable=file,
                writable=target,
                output=size,
                on_output=on_output,
                require_walls=require_walls,
            )
            if os.fstat(target).st_size != size:
                raise QemuFailed(f"qemu-img wrote {os.fstat(target).st_size} bytes instead of {size}")
        except BaseException:
            out.unlink(missing_ok=True)
            raise
        finally:
            os.close(target)


def program(places: str = PLACES) -> str:
    """The path of qemu-img. Raises SetupError."""
    path = shutil.which("qemu-img", path=places)
    if path is None:
        raise SetupError("qemu-img is not installed; on Debian: apt-get install qemu-utils")
    return path


def _name(file: int) -> str:
    return f"/proc/self/fd/{file}"


def _image(file: int, format: Format) -> str:
    row = DISK_FORMATS[format]
    return f"driver={row.driver}{row.options},file.driver=file,file.filename={_name(file)}"


def _share(on_share: ShareCallback) -> OutputCallback:
    def on_output(tail: bytes) -> None:
        if percents := _PERCENT.findall(tail):
            on_share(float(percents[-1]) / 100)

    return on_output


@contextmanager
def _opened(source: Path | int) -> Iterator[int]:
    """The file, open for reading only. Block devices are allowed."""
    if isinstance(source, int):
        yield source
        return
    file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
