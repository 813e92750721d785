"""Hybrid discs made by others: understood, not refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.formats.table import Format
from tests.formats import oracle
from tests.images.packaged import DISCS, packaged_disc
from tests.images.rooms import publish

pytestmark = pytest.mark.more

BOOT = {"grub-rescue": ("bios",), "grub-rescue-floppy": ("bios",), "ipxe": ("bios", "uefi"), "memtest": ("bios", "uefi")}


@pytest.mark.parametrize("name", DISCS)
def test_a_hybrid_disc_of_a_package_is_understood_and_comes_back(name: str, tmp_path: Path) -> None:
    store, path = MemoryStore(), packaged_disc(name)
    found = publish(path, store, tmp_path)
    assert found.examined.format is Format.ISO
    assert found.examined.details == {"el_torito": True, "hybrid": True}
    assert found.examined.findings == ()
    assert (found.disk.table, found.disk.boot) == ("mbr", BOOT[name])
    assert found.disk.filesystem
    assert found.disk.filesystem.kind == "iso9660"
    assert b"".join(open_disk(store, found.written.digest).chunks()) == path.read_bytes()


@pytest.mark.parametrize("name", DISCS)
def test_the_inspector_of_oslo_utils_refuses_a_hybrid_disc_as_two_formats(name: str) -> None:
    """Where the verdicts differ on real discs. It would keep them out of Glance; they are how machines are installed."""
    assert not oracle.accepts(packaged_disc(name).read_bytes())
