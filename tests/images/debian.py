"""A bootable Debian 12 on a raw disk, made from Debian's packages: `debian_disk()`.

An MBR with one ext4 partition, GRUB for the BIOS, the kernel for virtual machines with its initramfs, systemd, and a console on
the first serial line. The packages come from where this machine's own do (its apt sources). Making it takes root and half a
minute, and neither a loop device nor a mounted disk: GRUB is put by hand where `grub-install` puts it, its first sector into
the MBR, the rest into the gap before the partition.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.formats.make import MIB
from tests.images.kept import kept, run

SIZE = 400 * MIB
START = MIB
LABEL = "debian"
UUID = "b6b1d1b2-6f3e-4b55-9f5b-0c8f6b1a9d12"
SUITE = "bookworm"
EPOCH = "1700000000"

PACKAGES = ["linux-image-cloud-amd64", "systemd-sysv", "udev", "usr-is-merged", "grub-common", "grub-pc-bin", "zstd"]
GRUB_MODULES = ["biosdisk", "part_msdos", "ext2", "normal", "serial", "terminal", "linux"]
TABLE = f"label: dos\nlabel-id: 0x70686932\nstart={START // 512}, type=83, bootable\n"

SETUP = f"""\
set -eu
cd "$1"
rm -rf usr/share/doc usr/share/man usr/share/locale
rm -f etc/apt/sources.list
echo debian >etc/hostname
echo 'LABEL={LABEL} / ext4 defaults 0 1' >etc/fstab
printf '%s\\n' ext4 virtio_pci virtio_blk nvme ahci sd_mod >etc/initramfs-tools/modules
echo MODULES=list >etc/initramfs-tools/conf.d/modules
version=$(ls lib/modules)
chroot . update-initramfs -c -k "$version" >&2
mkdir -p boot/grub/i386-pc
chroot . grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/grub/i386-pc/core.img {" ".join(GRUB_MODULES)}
cp usr/lib/grub/i386-pc/boot.img boot/grub/i386-pc/
cat >boot/grub/grub.cfg <<END
serial --unit=0 --speed=115200
terminal_output serial
linux /boot/vmlinuz-$version root=LABEL={LABEL} ro console=ttyS0
initrd /boot/initrd.img-$version
boot
END
"""
COMMAND = [
    *("mmdebstrap", "--quiet", "--variant=essential", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"),
    *(f"--include={','.join(PACKAGES)}", "--dpkgopt=force-unsafe-io"),
]
RECIPE = f"{SIZE} {UUID} {SUITE} {EPOCH} {COMMAND} {TABLE} {SETUP}"


def debian_disk() -> Path:
    """The disk: `SIZE` bytes, about 0.25 GB of data, with holes. It is kept for the next time; nobody may write to it.

    Fails the test when it cannot be made, so that no continuous integration is green without it. Who is not root leaves it out.
    """
    return kept("debian.raw", RECIPE, _make)


def _make(folder: Path, disk: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a Debian is made by root only, as .ci/run does")
    (folder / "setup").write_text(SETUP)
    tree = folder / "tree"
    hook = f'--customize-hook=sh {folder / "setup"} "$1"'
    run(*COMMAND, hook, SUITE, str(tree), *_sources(), SOURCE_DATE_EPOCH=EPOCH, INITRD="No")  # the hook makes it, once
    with disk.open("wb") as file:
        file.truncate(SIZE)
    run("sfdisk", "-q", disk, text=TABLE)
    options = ["-t", "ext4", "-L", LABEL, "-U", UUID, "-E", f"offset={START},hash_seed={UUID},nodiscard", "-d", str(tree)]
    run("mke2fs", "-q", "-F", *options, disk, f"{(SIZE - START) // 1024}k", E2FSPROGS_FAKE_TIME=EPOCH)
    with disk.open("r+b") as file:
        file.write((tree / "boot/grub/i386-pc/boot.img").read_bytes()[:440])
        file.seek(512)
        core = (tree / "boot/grub/i386-pc/core.img").read_bytes()
        assert len(core) <= START - 512
        file.write(core)


def _sources() -> list[str]:
    """Where this machine gets its own packages of the suite."""
    lines = run(
        *("apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"),
        *("Created-By: Packages", "Origin: Debian"),
    ).splitlines()
    found = list(dict.fromkeys(line for line in lines if line.split()[2].startswith(SUITE)))
    if not found:
        pytest.fail(f"apt has no packages of Debian {SUITE} to offer: apt-get update, on Debian 12", pytrace=False)
    return found
