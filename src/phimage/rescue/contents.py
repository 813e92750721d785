"""What the rescue system has of its packages: no documentation, and of the kernel's modules those for disks and networks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final

PACKAGES: Final = (
    "busybox",
    "ca-certificates",
    "dmidecode",
    "e2fsprogs",
    "fdisk",
    "gdisk",
    "iproute2",
    "kmod",
    "libzstd1",
    "mount",
    "nvme-cli",
    "python3",
    "smartmontools",
    "udev",
    "udhcpc",
    "usr-is-merged",
    "zstd",
)
"""The packages beside the kernel: what the agent needs, and what a person looks for at the console of a sick machine."""

MODULE_FOLDERS: Final = (
    "drivers/ata",
    "drivers/block/virtio_blk.ko",
    "drivers/block/loop.ko",
    "drivers/char/ipmi",
    "drivers/hid",
    "drivers/hv",
    "drivers/input/keyboard",
    "drivers/md",
    "drivers/message",
    "drivers/mmc",
    "drivers/net/bonding",
    "drivers/net/ethernet",
    "drivers/net/hyperv",
    "drivers/net/mdio",
    "drivers/net/phy",
    "drivers/net/usb",
    "drivers/net/virtio_net.ko",
    "drivers/net/vmxnet3",
    "drivers/nvdimm",
    "drivers/nvme",
    "drivers/scsi",
    "drivers/usb/core",
    "drivers/usb/host",
    "drivers/usb/storage",
    "drivers/virtio",
    "drivers/watchdog",
    "fs/btrfs",
    "fs/ext4",
    "fs/fat",
    "fs/isofs",
    "fs/nls",
    "fs/xfs",
    "net/8021q",
    "net/packet",
)
"""What is kept of a kernel's modules, with all that these depend on: whatever a disk or a network card may need."""

_LEFT_OUT: Final = re.compile(
    "|".join(
        (
            r"boot/.*",
            r"dev/.+",
            r"etc/(alternatives|cron|initramfs-tools|init\.d|kernel|logrotate|perl|rc.\.d|systemd)(/.*|\..*)?",
            r"(proc|run|sys|tmp)/.+",
            r"usr/(games|include|src|local)(/.*)?",
            r"usr/share/(?!ca-certificates|misc|terminfo|python3|smartmontools)[^/]+(/.*)?",
            r"usr/lib/(locale|valgrind|binfmt\.d|klibc.*|mime|python3)/.*",
            r"usr/lib/udev/hwdb\.(d/.*|bin)",
            r"usr/lib/python3\.\d+/(test|unittest|idlelib|lib2to3|pydoc_data|ensurepip|distutils|venv|wsgiref|sqlite3|turtle.*)(/.*|\.py)?",
            r"usr/lib/[^/]+-linux-gnu/(perl|perl-base|gconv|libperl.*|libsqlite3.*|libdb-.*)(/.*)?",
            r"usr/(bin|sbin)/(perl.*|dpkg.*|apt.*|deb.*|localedef|zic|mkinitramfs|update-initramfs)",
            r"var/(cache|log)/.+",
            r"var/lib/(?!dpkg(/status)?$).+",
            r"vmlinuz.*|initrd\.img.*",
        )
    )
)
_MODULES: Final = re.compile(r"usr/lib/modules/[^/]+/kernel/(?P<place>.+)")
MODULE_INDEX: Final = re.compile(r"usr/lib/modules/(?P<version>[^/]+)/modules\.dep")


def is_kept(path: str, modules: frozenset[str]) -> bool:
    """Whether a file of the packages goes into the rescue system. `path` has no slash at its beginning."""
    if match := _MODULES.fullmatch(path):
        return match["place"] in modules
    return not _LEFT_OUT.fullmatch(path)


def needed_modules(index: str) -> frozenset[str]:
    """The modules to keep, with all that they depend on, of a kernel's `modules.dep`: their places below `kernel/`, and the
    folders of these.
    """
    needs = dict(_dependencies(index.splitlines()))
    wanted = {place for place in needs if _is_wanted(place)}
    kept = wanted.union(*(needs[place] for place in wanted))  # modules.dep lists dependencies of dependencies too
    return frozenset(kept).union(*(map(str, PurePosixPath(place).parents) for place in kept))


def _dependencies(lines: Iterable[str]) -> Iterable[tuple[str, set[str]]]:
    for line in lines:
        module, _, others = line.partition(":")
        yield _below_kernel(module), {_below_kernel(other) for other in others.split()}


def _below_kernel(path: str) -> str:
    return path.strip().removeprefix("kernel/")


def _is_wanted(place: str) -> bool:
    return any(place == folder or place.startswith((f"{folder}/", f"{folder}.")) for folder in MODULE_FOLDERS)


def boot_script(server: str, settings: Mapping[str, str]) -> str:
    """The iPXE script. The token is the host's own: a script of the host sets it and chains to this one."""
    options = " ".join(f"{name}={value}" for name, value in settings.items())
    return f"""#!ipxe
# The phimage rescue system. A host needs its enrol token, which `phimage host register` and `phimage host token` print:
#   set token enrol-...
#   chain boot.ipxe
# Without a token it opens a shell.
isset ${{server}} || set server {server}
isset ${{token}} || set token none
kernel vmlinuz initrd=initrd.img phimage.server=${{server}} phimage.token=${{token}} {options}
initrd initrd.img
boot
"""
