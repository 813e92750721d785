"""Publishing without a server: one file through the rooms, from its bytes to its manifest."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from phimage.chunks.store import Store
from phimage.chunks.write import DiskWriter, Written, write_file
from phimage.formats import qemu
from phimage.formats.disk import DiskDescription, describe
from phimage.formats.examine import Examination, examine, examine_disk
from phimage.formats.reader import FileReader
from phimage.formats.table import Format
from phimage.sources.partial_file import FreeSpace
from phimage.sources.source import LocalFile
from tests.unpacking import UnpackedFile, unpack_to


class Published(Struct, frozen=True):
    """The result of each room for a file."""

    unpacked: UnpackedFile
    examined: Examination
    disk: DiskDescription
    written: Written


def publish(path: Path, store: Store, folder: Path) -> Published:
    """Put the disk of a file, which must be a good image, into the store. Nothing is left in the folder."""
    file, raw = folder / "unpacked", folder / "raw"
    try:
        with LocalFile(path).open() as reader:
            unpacked = unpack_to(reader, path.name, file, FreeSpace(folder, 0))
        examined = examine(file)
        assert examined.confirmed, examined.findings
        assert not examined.refusals()
        assert examined.virtual_size
        if examined.format in (Format.RAW, Format.ISO):
            file.rename(raw)
        else:
            qemu.convert(file, examined.format, raw, size=examined.virtual_size)
        with FileReader(raw) as disk:
            assert not examine_disk(disk).refusals()
            described = describe(disk)
        with DiskWriter(store, examined.virtual_size) as writer:
            write_file(writer, raw)
            return Published(unpacked, examined, described, writer.finish({}))
    finally:
        file.unlink(missing_ok=True)
        raw.unlink(missing_ok=True)
