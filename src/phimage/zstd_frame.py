"""One zstd frame a chunk, with whichever zstd there is: that of Python 3.14, of backports.zstd, or the system's library.

The agent beside a disk is one file, which cannot carry a compiled module, and runs on the Python of its system.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from functools import cache

LEVEL = 3
"""Of the store and of what is sent to it. zstd's default: half the time of level 5 for a few percent more bytes."""
MAX_WINDOW_LOG = 23
"""A window of 8 MiB, which every program accepts by default (RFC 8878, 3.1.1.1.2)."""

_LIBRARY = "libzstd.so.1"
_COMPRESSION_LEVEL, _CHECKSUM_FLAG = 100, 201  # of zstd.h


class BadFrame(ValueError):
    """The bytes are not one zstd frame of the expected length."""


class NoZstd(RuntimeError):
    """This Python has no zstd, and its system has no library of it. The text has a remedy."""


def compress(raw: bytes) -> bytes:
    """The frame of a chunk: with its content size and zstd's checksum, at the level of the store. Raises NoZstd."""
    return _codec()[0](raw)


def decompress(frame: bytes, length: int) -> bytes:
    """The bytes of one frame that has exactly `length`. Never makes more than that. Raises BadFrame and NoZstd."""
    return _codec()[1](frame, length)


Compress = Callable[[bytes], bytes]
Decompress = Callable[[bytes, int], bytes]
_Codec = tuple[Compress, Decompress]


@cache
def _codec() -> _Codec:
    try:
        return _module_codec()
    except ImportError:
        return library_codec()


def _module_codec() -> _Codec:
    """The codec of a Python module. Raises ImportError."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options: dict[int, int] = {zstd.CompressionParameter.compression_level: LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    window: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG}

    def _decompress(frame: bytes, length: int) -> bytes:
        try:
            decompressor = zstd.ZstdDecompressor(options=window)
            raw = decompressor.decompress(frame, length + 1)
        except (zstd.ZstdError, EOFError) as error:
            raise BadFrame(f"a frame cannot be read: {error}") from error
        if len(raw) != length or not decompressor.eof or decompressor.unused_data:
            raise BadFrame(f"a frame does not end after {length} bytes")
        return raw

    return lambda raw: zstd.compress(raw, options=options), _decompress


# docs/decisions.md#the-agent-reaches-zstd-through-ctypes
def library_codec() -> _Codec:
    """The codec of the system's library. Its calls run without the GIL. Raises NoZstd."""
    library = _library()

    def _called(result: int) -> int:
        if library.ZSTD_isError(result):
            raise BadFrame(f"a frame cannot be read: {library.ZSTD_getErrorName(result).decode()}")
        return result

    threads = threading.local()  # a context serves one thread, and is freed with it

    def _compress(raw: bytes) -> bytes:
        if not hasattr(threads, "compressing"):
            threads.compressing = _Context(library.ZSTD_createCCtx(), library.ZSTD_freeCCtx)
            for parameter, value in ((_COMPRESSION_LEVEL, LEVEL), (_CHECKSUM_FLAG, 1)):
                library.ZSTD_CCtx_setParameter(threads.compressing.address, parameter, value)
        bound = library.ZSTD_compressBound(len(raw))
        buffer = threads.compressing.buffer(bound)
        written = library.ZSTD_compress2(threads.compressing.address, buffer, bound, raw, len(raw))
        return ctypes.string_at(buffer, _called(written))

    def _decompress(frame: bytes, length: int) -> bytes:
        if not hasattr(threads, "decompressing"):
            threads.decompressing = _Context(library.ZSTD_createDCtx(), library.ZSTD_freeDCtx)
        whole = _called(library.ZSTD_findFrameCompressedSize(frame, len(frame)))
        buffer = threads.decompressing.buffer(length + 1)
        written = _called(library.ZSTD_decompressDCtx(threads.decompressing.address, buffer, length + 1, frame, whole))
        if written != length or whole != len(frame):
            raise BadFrame(f"a frame does not end after {length} bytes")
        return ctypes.string_at(buffer, length)

    return _compress, _decompress


class _Context:
    """A context of the library, with a buffer for results."""

    def __init__(self, address: int, free: Callable[[int], int]) -> None:
        self.address = address
        self._free = free
        self._buffer = ctypes.create_string_buffer(0)

    def buffer(self, size: int) -> ctypes.Array[ctypes.c_char]:
        """At least `size` bytes, until the next call."""
        if len(self._buffer) < size:
            self._buffer = ctypes.create_string_buffer(size)
        return self._buffer

    def __del__(self) -> None:
        self._free(self.address)


def _library() -> ctypes.CDLL:
    """The library with the types of the functions that are used. Raises NoZstd."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        remedy = "install backports.zstd or libzstd1, or run it with Python 3.14"
        raise NoZstd(f"this Python has no zstd, and {_LIBRARY} is not here; {remedy}") from None
    size, pointer, integer, text = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("ZSTD_isError", ctypes.c_uint, [size]),
        ("ZSTD_getErrorName", text, [size]),
        ("ZSTD_compressBound", size, [size]),
        ("ZSTD_createCCtx", pointer, []),
        ("ZSTD_freeCCtx", size, [pointer]),
        ("ZSTD_CCtx_setParameter", size, [pointer, integer, integer]),
        ("ZSTD_compress2", size, [pointer, pointer, size, text, size]),
        ("ZSTD_createDCtx", pointer, []),
        ("ZSTD_freeDCtx", size, [pointer]),
        ("ZSTD_findFrameCompressedSize", size, [text, size]),
        ("ZSTD_decompressDCtx", size, [pointer, pointer, size, text, size]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
