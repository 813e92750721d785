"""What goes into the rescue system, and the archive that it goes into."""

from __future__ import annotations

import io
import stat

import pytest

from phimage.rescue.contents import boot_script, is_kept, needed_modules
from phimage.rescue.cpio import CpioWriter

INDEX = """\
kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko: kernel/drivers/ptp/ptp.ko kernel/drivers/pps/pps_core.ko
kernel/drivers/ptp/ptp.ko: kernel/drivers/pps/pps_core.ko
kernel/drivers/pps/pps_core.ko:
kernel/drivers/block/virtio_blk.ko:
kernel/drivers/block/drbd/drbd.ko: kernel/lib/lru_cache.ko
kernel/lib/lru_cache.ko:
kernel/sound/soundcore.ko:
"""


def test_modules_for_disks_and_networks_are_kept_with_what_they_need_and_their_folders() -> None:
    modules = needed_modules(INDEX)
    assert {place for place in modules if place.endswith(".ko")} == {
        "drivers/net/ethernet/intel/e1000e/e1000e.ko",
        "drivers/ptp/ptp.ko",
        "drivers/pps/pps_core.ko",
        "drivers/block/virtio_blk.ko",
    }
    assert {"drivers", "drivers/block", "drivers/net/ethernet/intel/e1000e"} <= modules
    below = "usr/lib/modules/6.1.0-1-amd64/kernel"
    assert is_kept(f"{below}/drivers/ptp/ptp.ko", modules)
    assert is_kept(f"{below}/drivers/ptp", modules)
    assert not is_kept(f"{below}/sound", modules)
    assert not is_kept(f"{below}/drivers/block/drbd/drbd.ko", modules)


@pytest.mark.parametrize(
    "path",
    [
        "bin",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "etc/udhcpc/default.script",
        "usr/bin/python3.11",
        "usr/lib/modules/6.1.0-1-amd64/modules.dep.bin",
        "usr/lib/python3.11/ctypes/__init__.py",
        "usr/lib/python3.11/http/client.py",
        "usr/lib/udev/rules.d/60-persistent-storage.rules",
        "usr/lib/x86_64-linux-gnu/libzstd.so.1",
        "usr/sbin/nvme",
        "usr/share/ca-certificates/mozilla/one.crt",
        "var/lib/dpkg/status",
        *("dev", "proc", "run", "sys", "tmp"),
    ],
)
def test_what_the_agent_and_the_console_need_is_kept(path: str) -> None:
    assert is_kept(path, frozenset())


@pytest.mark.parametrize(
    "path",
    [
        "boot/vmlinuz-6.1.0-1-amd64",
        "dev/sda",
        "usr/bin/dpkg-deb",
        "usr/bin/perl",
        "usr/lib/python3.11/test/support/__init__.py",
        "usr/lib/udev/hwdb.bin",
        "usr/share/doc/bash/copyright",
        "var/cache/apt/pkgcache.bin",
        "var/lib/dpkg/info/bash.list",
        "vmlinuz",
    ],
)
def test_what_nobody_needs_there_is_left_out(path: str) -> None:
    assert not is_kept(path, frozenset())


def test_the_boot_script_starts_no_agent_without_a_token() -> None:
    script = boot_script("https://images.example", {"rdinit": "/init", "console": "ttyS0"})
    assert script.startswith("#!ipxe\n")
    assert "isset ${server} || set server https://images.example\nisset ${token} || set token none\n" in script
    assert script.endswith(
        "kernel vmlinuz initrd=initrd.img phimage.server=${server} phimage.token=${token} rdinit=/init console=ttyS0\n"
        "initrd initrd.img\nboot\n"
    )


def test_the_archive_is_as_the_kernel_documents_it() -> None:
    file = io.BytesIO()
    archive = CpioWriter(file, 1_700_000_000)
    archive.folder("etc")
    archive.regular("etc/odd", b"12345", 0o600)
    archive.link("etc/link", "odd")
    archive.character_device("console", 5, 1)
    archive.close()

    found, at, data = [], 0, file.getvalue()
    while True:
        assert at % 4 == 0
        assert data[at : at + 6] == b"070701"
        _, mode, user, group, links, time, size, _, _, major, minor, length, checksum = (
            int(data[place : place + 8], 16) for place in range(at + 6, at + 110, 8)
        )
        name = data[at + 110 : at + 110 + length].removesuffix(b"\0").decode()
        body = -(-(at + 110 + length) // 4) * 4
        at = -(-(body + size) // 4) * 4
        if name == "TRAILER!!!":
            break
        assert (user, group, links, time, checksum) == (0, 0, 1, 1_700_000_000, 0)
        found.append((name, stat.filemode(mode), data[body : body + size], (major, minor)))
    assert at == len(data)
    assert found == [
        ("etc", "drwxr-xr-x", b"", (0, 0)),
        ("etc/odd", "-rw-------", b"12345", (0, 0)),
        ("etc/link", "lrwxrwxrwx", b"odd", (0, 0)),
        ("console", "crw-------", b"", (5, 1)),
    ]
