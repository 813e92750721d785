"""What the name of an image file says about the system in it: a first filling of a form, which a person corrects."""

from __future__ import annotations

import re

from msgspec import Struct

_SYSTEMS = {
    "debian": "Debian",
    "ubuntu": "Ubuntu",
    "centos": "CentOS",
    "rocky": "Rocky",
    "almalinux": "AlmaLinux",
    "fedora": "Fedora",
    "opensuse": "openSUSE",
    "sles": "SLES",
    "rhel": "RHEL",
    "anolis": "Anolis",
    "openeuler": "openEuler",
    "alpine": "Alpine",
    "arch": "Arch",
    "freebsd": "FreeBSD",
    "windows": "Windows",
}
_CODE_NAMES = {
    "bookworm": ("debian", "12"),
    "trixie": ("debian", "13"),
    "bullseye": ("debian", "11"),
    "focal": ("ubuntu", "20.04"),
    "jammy": ("ubuntu", "22.04"),
    "noble": ("ubuntu", "24.04"),
}
MAX_NAME = 255
"""Characters of a name that are looked at: endings are searched in a time with the square of their number."""
_ENDINGS = re.compile(r"(\.(qcow2|img|raw|vmdk|vhdx?|iso|gz|xz|zst|bz2))+$", re.IGNORECASE)
_VERSION = re.compile(r"[-_ .]?v?([0-9]+(?:\.[0-9]+)*)")
_WORD = re.compile(r"[a-z]+")


class FileGuess(Struct, frozen=True, rename="pascal"):
    """Parameters of PublishPHostImage; empty where the name says nothing."""

    name: str
    os_type: str = ""
    os_name: str = ""
    version: str = ""
    family: str = ""


def guess(file_name: str) -> FileGuess:
    """What a file name says, such as `debian-12-genericcloud-amd64.qcow2`."""
    base = _ENDINGS.sub("", file_name.rpartition("/")[2][:MAX_NAME])[:128]
    lower = base.lower()
    for match in _WORD.finditer(lower):
        word = match[0]
        if word in _CODE_NAMES:
            return _of_system(base, *_CODE_NAMES[word])
        if word in _SYSTEMS:
            version = _VERSION.match(lower, match.end())
            named = next((_CODE_NAMES[each] for each in _WORD.findall(lower) if each in _CODE_NAMES), None)
            return _of_system(base, word, version[1] if version else named[1] if named else "")
    return FileGuess(base)


def _of_system(base: str, system: str, version: str) -> FileGuess:
    title = _SYSTEMS[system]
    short = ".".join(version.split(".")[: 2 if system == "ubuntu" else 1])
    return FileGuess(
        name=f"{title} {version}".strip(),
        os_type=title,
        os_name=f"{title} {version} 64bit".replace("  ", " "),
        version=version,
        family=f"{system}-{short}" if short else system,
    )
