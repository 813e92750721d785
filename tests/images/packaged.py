"""Images that Debian's packages bring: discs that also boot from a stick, as installers and rescue systems do."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.images.kept import kept, run

DISCS: dict[str, tuple[str, str]] = {
    # name: package, path in it
    "grub-rescue": ("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso"),
    "grub-rescue-floppy": ("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-floppy.img"),
    "ipxe": ("ipxe", "usr/lib/ipxe/ipxe.iso"),
    "memtest": ("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso"),
}


def packaged_disc(name: str) -> Path:
    """One of `DISCS`, 1.2 to 6 MB. The package comes from this machine's apt sources and is not installed; the disc is kept.

    Fails the test when apt cannot get it.
    """
    package, inside = DISCS[name]

    def make(folder: Path, disc: Path) -> None:
        run("apt-get", "download", "-q", package, folder=folder)
        [archive] = folder.glob("*.deb")
        run("dpkg-deb", "-x", archive, folder / "files")
        shutil.copyfile(folder / "files" / inside, disc)

    return kept(f"{name}.iso", f"{package} {inside}", make)
