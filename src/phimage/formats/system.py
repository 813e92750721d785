"""The operating system of a disk whose root is an ext file system, read from its files, never run or mounted."""

from __future__ import annotations

import re
from typing import Final

from phimage.formats.errors import FormatError
from phimage.formats.ext4 import Ext4
from phimage.model.image_bytes import SystemFacts

RELEASE_FILES: Final = ("/etc/os-release", "/usr/lib/os-release")
MAX_FILE: Final = 65536
MAX_TEXT: Final = 128
MAX_KERNELS: Final = 32
MACHINES = {
    0x03: "i386",
    0x15: "ppc64le",
    0x16: "s390x",
    0x28: "arm",
    0x3E: "x86_64",
    0xB7: "aarch64",
    0xF3: "riscv64",
    0x102: "loongarch64",
}

_LINE = re.compile(r"""([A-Z][A-Z0-9_]*)=(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"'$`\\]*))\s*""")
_KERNEL = re.compile(r"vmlinu[xz]-(.+)|Image-(.+)")


def system(root: Ext4) -> SystemFacts | None:
    """The operating system of a root file system, None when it is not a root."""
    for path in RELEASE_FILES:
        text = root.read_file(path, MAX_FILE)
        if text and (fields := parse(text)):
            return SystemFacts(
                fields.get("ID", "linux"),
                fields.get("VERSION_ID", ""),
                fields.get("NAME", "Linux"),
                fields.get("PRETTY_NAME", "Linux"),
                fields.get("VERSION_CODENAME", ""),
                _architecture(root),
            )
    return None


def kernels(root: Ext4) -> tuple[str, ...]:
    """The kernel versions with a file in /boot, or at the top of a separate boot file system."""
    versions: set[str] = set()
    for folder in ("/boot", "/"):
        matches = (_KERNEL.fullmatch(name) for name in root.names(folder))
        versions |= {_printable(match[1] or match[2]) for match in matches if match}
    return tuple(sorted(versions)[:MAX_KERNELS])


def parse(text: bytes) -> dict[str, str]:
    """The assignments of an os-release file. Other lines are left out, even where a shell would accept them."""
    fields: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").splitlines():
        match = _LINE.fullmatch(line.strip())
        if match:
            double, single, bare = match[2], match[3], match[4]
            value = re.sub(r'\\(["$`\\])', r"\1", double) if double is not None else single if single is not None else bare
            fields[match[1]] = _printable(value)
    return fields


def _architecture(root: Ext4) -> str:
    """The machine in the ELF header of a program that every system has."""
    for path in ("/bin/sh", "/usr/bin/env", "/sbin/init"):
        try:
            head = root.read_file(path, 20)
        except FormatError:
            continue
        if head and head.startswith(b"\x7fELF") and len(head) == 20:
            return MACHINES.get(int.from_bytes(head[18:20], "big" if head[5] == 2 else "little"), "")
    return ""


def _printable(value: str) -> str:
    return "".join(letter for letter in value if letter.isprintable())[:MAX_TEXT]
