"""One disk in every format: the same bytes, the same digests, and no chunk stored twice."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from phimage.chunks.memory import MemoryStore
from phimage.chunks.read import open_disk
from phimage.formats.table import Format
from phimage.model.image_bytes import SystemFacts
from phimage.sources.compression import Compression
from tests.images.debian import LABEL, SIZE, START, debian_disk
from tests.images.kept import run
from tests.images.packaged import packaged_disc
from tests.images.rooms import Published, publish
from tests.images.variants import PACKERS, VARIANTS, qemu_format, variant

pytestmark = pytest.mark.more

QUICK = ("raw", "qcow2", "qcow2, zstd", "vmdk", "vhd", "vhdx", "zst")
LONG = [name for name in VARIANTS if name not in QUICK]
TWIN = {"raw": Format.RAW, "qcow2": Format.QCOW2, "vmdk": Format.VMDK, "vpc": Format.VHD, "vhdx": Format.VHDX}
"""What phimage calls a format of qemu-img."""


class Known:
    """A disk that was published raw, and a store that has nothing else."""

    def __init__(self, disk: Path, folder: Path) -> None:
        self.path = disk
        self.store = MemoryStore()
        self.published = publish(disk, self.store, folder)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(debian_disk(), tmp_path_factory.mktemp("debian"))


@pytest.fixture(scope="module")
def memtest(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(packaged_disc("memtest"), tmp_path_factory.mktemp("memtest"))


def test_the_debian_disk_is_known_for_what_it_is(debian: Known) -> None:
    disk = debian.published.disk
    assert (disk.size, disk.table, disk.boot) == (SIZE, "mbr", ("bios",))
    assert disk.system == SystemFacts(
        "debian", "12", "Debian GNU/Linux", "Debian GNU/Linux 12 (bookworm)", "bookworm", "x86_64"
    )
    [kernel] = disk.kernels
    assert kernel.endswith("-cloud-amd64")
    [root] = disk.partitions
    assert (root.start, root.active) == (START, True)
    assert root.filesystem
    assert (root.filesystem.kind, root.filesystem.label) == ("ext4", LABEL)
    assert debian.published.examined.findings == ()


def test_the_disk_comes_back_byte_for_byte_and_its_digest_is_the_one_that_sha256sum_would_tell(debian: Known) -> None:
    written = debian.published.written
    with debian.path.open("rb") as file:
        assert all(file.read(len(chunk)) == chunk for chunk in open_disk(debian.store, written.digest).chunks())
        assert file.read(1) == b""
    assert sha256(debian.path) == written.manifest.sha256


@pytest.mark.parametrize("name", QUICK)
def test_a_debian_disk_in_any_format_is_the_same_image(name: str, debian: Known, tmp_path: Path) -> None:
    same_image(name, debian, tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize("name", LONG)
def test_a_debian_disk_in_slow_formats_is_the_same_image(name: str, debian: Known, tmp_path: Path) -> None:
    same_image(name, debian, tmp_path)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_small_disk_in_any_format_is_the_same_image(name: str, memtest: Known, tmp_path: Path) -> None:
    same_image(name, memtest, tmp_path)


def same_image(name: str, known: Known, folder: Path) -> None:
    """Publish a variant and compare it with the raw disk, which was read back byte for byte, and with qemu-img's conversion."""
    path = variant(name, known.path)
    found = publish(path, known.store, folder)
    check_rooms(name, found, known)
    assert found.written.digest == known.published.written.digest
    assert found.written.manifest.sha256 == known.published.written.manifest.sha256
    assert found.written.new_chunks == 0
    assert found.disk == known.published.disk

    raw = folder / "by-qemu"
    if name not in PACKERS:
        run("qemu-img", "convert", "-f", qemu_format(name), "-O", "raw", path, raw)
        assert sha256(raw) == found.written.manifest.sha256
        raw.unlink()


def check_rooms(name: str, found: Published, known: Known) -> None:
    """Check that each room recognised the file."""
    disc = known.published.examined.format is Format.ISO
    format = TWIN[qemu_format(name)]
    assert found.examined.format is (Format.ISO if disc and format is Format.RAW else format)
    assert found.examined.virtual_size == known.published.examined.virtual_size
    assert found.unpacked.compression is (Compression(name) if name in PACKERS else Compression.NONE)


def sha256(path: Path) -> str:
    """The digest that `sha256sum` prints."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
