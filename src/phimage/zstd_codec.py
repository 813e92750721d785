"""Frames of zstd by Python's own module, by `backports.zstd`, or by the program `zstd` where a system has neither.

Debian's Python has no zstd module, and a program that is one file cannot carry a compiled one. A chunk is one frame with its
content size and a checksum (docs/store-format.md).
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import ModuleType
from typing import IO, Any

MAX_WINDOW_LOG = 25
"""The largest window of a frame, 32 MiB: twice the largest chunk."""

_MAGIC = bytes.fromhex("28b52ffd")
_PROGRAM = "zstd"


class BadFrame(ValueError):
    """A frame does not decompress to the expected length. `position` is its place among those that were given."""

    def __init__(self, position: int, reason: str) -> None:
        self.position = position
        super().__init__(reason)


class NoZstd(RuntimeError):
    """This system can neither import zstd nor run it."""


def find_module() -> ModuleType | None:
    """Python's zstd module, or None."""
    with suppress(ImportError):
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        module: ModuleType = zstd
        return module
    return None


_module: Any = find_module()


def compress(raw: bytes, level: int) -> bytes:
    """One frame with its content size and a checksum. Raises NoZstd."""
    if _module is not None:
        parameter = _module.CompressionParameter
        frame: bytes = _module.compress(raw, options={parameter.compression_level: level, parameter.checksum_flag: 1})
        return frame
    with _child(f"-{level}", "--check", "--no-progress", f"--stream-size={len(raw)}") as child:
        return child.communicate(raw)[0]


def decompress(frames: Sequence[bytes | memoryview], lengths: Sequence[int]) -> Iterator[bytes]:
    """The contents of some frames in turn, each of exactly its length; none is longer, whatever its frame says.

    Raises BadFrame and NoZstd.
    """
    for position, frame in enumerate(frames):
        if frame[:4] != _MAGIC:
            raise BadFrame(position, "it is not a zstd frame")
    return _by_module(frames, lengths) if _module is not None else _by_program(frames, lengths)


def _by_module(frames: Sequence[bytes | memoryview], lengths: Sequence[int]) -> Iterator[bytes]:
    options = {_module.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}
    for position, (frame, length) in enumerate(zip(frames, lengths, strict=True)):
        decompressor = _module.ZstdDecompressor(options=options)
        try:
            raw = decompressor.decompress(frame, length + 1)
        except (_module.ZstdError, EOFError) as error:
            raise BadFrame(position, f"its frame cannot be read: {error}") from None
        if len(raw) != length or not decompressor.eof or decompressor.unused_data:
            raise BadFrame(position, f"its frame does not end after {length} bytes")
        yield raw


def _by_program(frames: Sequence[bytes | memoryview], lengths: Sequence[int]) -> Iterator[bytes]:
    """One child for all frames. Their lengths divide its output, so a wrong frame shifts those after it: callers compare digests."""
    with _child("-d", f"--memory={1 << MAX_WINDOW_LOG >> 20}MB") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        feeder = threading.Thread(target=_feed, args=(child.stdin, frames), daemon=True)
        feeder.start()
        try:
            for position, length in enumerate(lengths):
                raw = child.stdout.read(length)
                if len(raw) != length:
                    raise BadFrame(position, f"its frame does not end after {length} bytes")
                yield raw
            if child.stdout.read(1) or child.wait():
                raise BadFrame(len(frames) - 1, f"its frame does not end after {lengths[-1]} bytes")
        finally:
            child.kill()  # else it could wait for room in the pipe
            feeder.join()


def _child(*options: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [_PROGRAM, "-c", "-q", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        remedy = "install the Debian package zstd, or the Python package backports.zstd"
        raise NoZstd(f"this system has no zstd: {remedy}") from None


def _feed(pipe: IO[bytes], frames: Sequence[bytes | memoryview]) -> None:
    with suppress(OSError), pipe:
        for frame in frames:
            pipe.write(frame)
