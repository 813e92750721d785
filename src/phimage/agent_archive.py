"""`phimage-agent.pyz`: the agent as one file that any Python from 3.11 runs, on a machine without packages."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

MAX_BYTES = 100_000
"""The archive stays below this size, so that it can be part of a kernel command's initramfs or of a boot script."""

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("phimage-agent needs Python 3.11 or newer; this is " + sys.version.split()[0])
from phimage.agent.__main__ import main

main()
"""
_MODULES = (
    "__init__.py",
    "errors.py",
    "http_client.py",
    "http_signature.py",
    "chunk_upload.py",
    "disk_hint.py",
    "gpt_header.py",
    "zstd_frame.py",
)
"""What the agent uses besides its own package."""
_DATE = (1980, 1, 1, 0, 0, 0)


def make_archive() -> bytes:
    """The archive. The same sources give the same bytes."""
    buffer = io.BytesIO()
    buffer.write(_SHEBANG)
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, text in _files():
            archive.writestr(zipfile.ZipInfo(name, _DATE), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _files() -> Iterator[tuple[str, str]]:
    yield "__main__.py", _MAIN
    package = files("phimage")
    for name in _MODULES:
        yield f"phimage/{name}", package.joinpath(name).read_text("utf-8")
    for file in sorted(package.joinpath("agent").iterdir(), key=_name):
        if file.name.endswith(".py"):
            yield f"phimage/agent/{file.name}", file.read_text("utf-8")


def _name(file: Traversable) -> str:
    return file.name
