"""VMDK."""

from __future__ import annotations

import struct
from collections.abc import Callable

from phimage.formats.table import Format
from tests.formats import make
from tests.formats.cases.case import FOREIGN, case, stricter
from tests.formats.make import KIB


def _vmdk(lines: tuple[str, ...] = (), **fields: object) -> Callable[[], bytes]:
    return lambda: make.vmdk(text=make.descriptor(lines=lines, **fields))  # type: ignore[arg-type]


def _vmdk_header(**fields: object) -> Callable[[], bytes]:
    return lambda: make.vmdk(header=make.vmdk_header(**fields))  # type: ignore[arg-type]


def _flat() -> bytes:
    return make.descriptor(subformat="monolithicFlat", extents=['RW 8192 FLAT "/bait/secret" 0'])


def _capacity_zero() -> bytes:
    """A header that made readers open the files of a descriptor behind it."""
    return make.vmdk(header=make.vmdk_header(capacity=0), text=_flat())


def _stream(*, descriptor_at: int = 1, descriptor_size: int = 20) -> bytes:
    header = make.vmdk_footer(directory=make.AT_END, descriptor_at=descriptor_at, descriptor_size=descriptor_size)
    return make.vmdk_stream(header=header)


def _device(subformat: str, extent: str) -> Callable[[], bytes]:
    return _vmdk(subformat=subformat, extents=[extent])


def _hint_behind_the_descriptor() -> bytes:
    text = make.descriptor(lines=["#".ljust(512, "#")])
    text = text[:1024].ljust(1024, b"\n") + b'parentFileNameHint="/bait/secret"\n'
    return make.vmdk(header=make.vmdk_header(descriptor_size=2), text=text)


VMDK = [
    case("vmdk", lambda: make.vmdk(grains={0: b"abc", 63: b"def"}), Format.VMDK),
    case("vmdk, a stream", make.vmdk_stream, Format.VMDK),
    case("vmdk, a line to ignore", _vmdk(("someUnknownThing=foo", 'ddb.whatever = "1"')), Format.VMDK),
    case("vmdk, in use", _vmdk_header(unclean=1), Format.VMDK),
    case("vmdk, bare descriptor", _flat, Format.VMDK, "vmdk.descriptor"),
    case("vmdk, bare descriptor that begins with its version", lambda: b"#\n\n" + _flat()[22:], Format.VMDK, "vmdk.descriptor"),
    case("vmdk, descriptor of capacity 0", _capacity_zero, Format.VMDK, "vmdk.malformed"),
    case("vmdk, monolithicFlat inside", _vmdk(subformat="monolithicFlat"), Format.VMDK, "vmdk.subformat"),
    case("vmdk, twoGbMaxExtentSparse inside", _vmdk(subformat="twoGbMaxExtentSparse"), Format.VMDK, "vmdk.subformat"),
    case("vmdk, unknown createType", _vmdk(subformat="someunknownformat"), Format.VMDK, "vmdk.subformat"),
    case(
        "vmdk, bare descriptor with line ends of Windows",
        lambda: _flat().replace(b"\n", b"\r\n"),
        Format.VMDK,
        "vmdk.descriptor",
    ),
    case(
        "vmdk, a disk of the machine that reads it",
        _device("fullDevice", 'RW 8192 FLAT "/dev/sda" 0'),
        Format.VMDK,
        "vmdk.subformat",
        "vmdk.extent",
    ),
    case(
        "vmdk, a disk of the machine that reads it, mapped",
        _device("vmfsRawDeviceMap", 'RW 8192 VMFSRDM "/dev/sda"'),
        Format.VMDK,
        "vmdk.subformat",
        "vmdk.extent",
    ),
    case(
        "vmdk, two createTypes, an evil one first",
        lambda: make.vmdk(text=b'createType="monolithicFlat"\n' + make.descriptor()),
        Format.VMDK,
        "vmdk.malformed",
    ),
    stricter(
        "vmdk, two createTypes, an evil one second", _vmdk(('createType="monolithicFlat"',)), Format.VMDK, "vmdk.malformed"
    ),
    stricter("vmdk, two parentCIDs", _vmdk(("parentCID=12345678",)), Format.VMDK, "vmdk.malformed"),
    case(
        "vmdk, createType without quotes",
        lambda: make.vmdk(text=make.descriptor().replace(b'="monolithicSparse"', b" monolithicFlat")),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case(
        "vmdk, no createType",
        lambda: make.vmdk(text=make.descriptor().replace(b"createType", b"creatorType")),
        Format.VMDK,
        "vmdk.subformat",
    ),
    case("vmdk, ESX sparse", lambda: b"COWD" + make.vmdk()[4:], Format.VMDK, "vmdk.subformat", oslo=True, why=FOREIGN),
    case(
        "vmdk, seSparse",
        lambda: struct.pack("<Q", 0xCAFEBABE) + make.vmdk()[8:],
        Format.VMDK,
        "vmdk.subformat",
        oslo=True,
        why=FOREIGN,
    ),
    stricter("vmdk, parent by name", _vmdk(('parentFileNameHint="/bait/secret"',)), Format.VMDK, "vmdk.parent"),
    stricter("vmdk, parent by name in a comment", _vmdk(('# parentFileNameHint="/bait/secret"',)), Format.VMDK, "vmdk.parent"),
    stricter("vmdk, parent by id", _vmdk(parent="12345678"), Format.VMDK, "vmdk.parent"),
    stricter(
        "vmdk, parent behind the descriptor, where qemu still reads", _hint_behind_the_descriptor, Format.VMDK, "vmdk.parent"
    ),
    case("vmdk, extent elsewhere", _vmdk(extents=['RW 8192 SPARSE "/bait/secret"']), Format.VMDK, "vmdk.extent"),
    stricter("vmdk, flat extent", _vmdk(extents=['RW 8192 FLAT "disk-flat.vmdk" 0']), Format.VMDK, "vmdk.extent"),
    stricter(
        "vmdk, two extents",
        _vmdk(extents=['RW 4096 SPARSE "a.vmdk"', 'RW 4096 SPARSE "b.vmdk"']),
        Format.VMDK,
        "vmdk.extent",
        "vmdk.malformed",
    ),
    case("vmdk, no extent", _vmdk(extents=[]), Format.VMDK, "vmdk.extent"),
    case(
        "vmdk, extent with an unknown access", _vmdk(extents=['WRONLY 8192 SPARSE "disk.vmdk"']), Format.VMDK, "vmdk.malformed"
    ),
    stricter("vmdk, extent of another size", _vmdk(sectors=4096), Format.VMDK, "vmdk.malformed"),
    case("vmdk, descriptor that is not text", lambda: make.vmdk(text=b"\xff\xfe" * 200), Format.VMDK, "vmdk.malformed"),
    case("vmdk, version 9", _vmdk_header(version=9), Format.VMDK, "vmdk.malformed"),
    case("vmdk, descriptor at another place", _vmdk_header(descriptor_at=2), Format.VMDK, "vmdk.malformed"),
    case(
        "vmdk, a stream, descriptor at another place",
        lambda: _stream(descriptor_at=2),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case(
        "vmdk, a stream, descriptor of 2 MiB",
        lambda: _stream(descriptor_size=4096),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case("vmdk, magic and version alone", lambda: b"KDMV\1".ljust(64 * KIB, b"\0"), Format.VMDK, "vmdk.malformed"),
    stricter("vmdk, extent that is not written as one", _vmdk(extents=["rw 0 somefile.vmdk"]), Format.VMDK, "vmdk.malformed"),
    case("vmdk, descriptor of 2 MiB", _vmdk_header(descriptor_size=4096), Format.VMDK, "vmdk.malformed"),
    stricter("vmdk, grains of no size", _vmdk_header(grain=0), Format.VMDK, "vmdk.malformed"),
    stricter("vmdk, grain tables of no entry", _vmdk_header(entries=0), Format.VMDK, "vmdk.malformed"),
    stricter("vmdk, copied as text", _vmdk_header(newlines=b"\n \n\n"), Format.VMDK, "vmdk.malformed"),
    stricter("vmdk, grain directory outside", _vmdk_header(directory=1 << 40), Format.VMDK, "vmdk.truncated"),
    stricter("vmdk, 8 EiB", _vmdk_header(capacity=(1 << 54) - 1), Format.VMDK, "vmdk.malformed"),
    stricter("vmdk, cut off", lambda: make.vmdk(grains={0: b"a"})[:-512], Format.VMDK, "vmdk.truncated"),
    case("vmdk, a stream cut off", lambda: make.vmdk_stream()[:-1536], Format.VMDK, "vmdk.truncated"),
    case(
        "vmdk, footer of another magic",
        lambda: make.vmdk_stream(footer=make.vmdk_footer(magic=b"leak")),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case(
        "vmdk, footer of another version",
        lambda: make.vmdk_stream(footer=make.vmdk_footer(version=2)),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case(
        "vmdk, footer with a longer descriptor",
        lambda: make.vmdk_stream(footer=make.vmdk_footer(descriptor_size=21)),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case(
        "vmdk, footer with another descriptor",
        lambda: make.vmdk_stream(footer=make.vmdk_footer(descriptor_at=2)),
        Format.VMDK,
        "vmdk.malformed",
    ),
    stricter(
        "vmdk, footer of another capacity",
        lambda: make.vmdk_stream(footer=make.vmdk_footer(capacity=1 << 30)),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case(
        "vmdk, footer of zeros",
        lambda: make.vmdk_stream(before=bytes(512), footer=bytes(512), end=bytes(512)),
        Format.VMDK,
        "vmdk.truncated",
    ),
    stricter(
        "vmdk, footer with a grain directory outside",
        lambda: make.vmdk_stream(footer=make.vmdk_footer(directory=make.AT_END - 255)),
        Format.VMDK,
        "vmdk.truncated",
    ),
    case(
        "vmdk, footer that names a footer",
        lambda: make.vmdk_stream(footer=make.vmdk_footer(directory=make.AT_END)),
        Format.VMDK,
        "vmdk.malformed",
    ),
    case(
        "vmdk, footer without its marker", lambda: make.vmdk_stream(before=make.marker(1, 0, 7)), Format.VMDK, "vmdk.truncated"
    ),
    case(
        "vmdk, footer marker with a size", lambda: make.vmdk_stream(before=make.marker(1, 1, 3)), Format.VMDK, "vmdk.truncated"
    ),
    case(
        "vmdk, footer marker with something behind",
        lambda: make.vmdk_stream(before=make.marker(1, 0, 3, b"\1" * 496)),
        Format.VMDK,
        "vmdk.truncated",
    ),
    case(
        "vmdk, stream without its end marker", lambda: make.vmdk_stream(end=make.marker(0, 0, 7)), Format.VMDK, "vmdk.truncated"
    ),
    case("vmdk, end marker with a size", lambda: make.vmdk_stream(end=make.marker(0, 1, 0)), Format.VMDK, "vmdk.truncated"),
    case(
        "vmdk, end marker with something behind",
        lambda: make.vmdk_stream(end=make.marker(0, 0, 0, b"\1" * 496)),
        Format.VMDK,
        "vmdk.truncated",
    ),
]
