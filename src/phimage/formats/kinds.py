"""Every kind of finding, registered once: what it means, how severe it is, whether an operator may override it, what to do.

docs/how-to/refused-images.md has a line for each; a test compares the two. Ids never change their meaning.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Severity(StrEnum):
    """Refuse: not published unless overridden. Warn: published, and the operator is told. Note: worth knowing."""

    REFUSE = "refuse"
    WARN = "warn"
    NOTE = "note"


class Kind(Struct, frozen=True):
    """A kind of finding. `override` says whether an operator may publish nevertheless."""

    id: str
    severity: Severity
    override: bool
    meaning: str
    remedy: str


def _refuse(id: str, meaning: str, remedy: str, *, override: bool = False) -> Kind:
    return Kind(id, Severity.REFUSE, override, meaning, remedy)


def _warn(id: str, meaning: str, remedy: str) -> Kind:
    return Kind(id, Severity.WARN, False, meaning, remedy)


def _note(id: str, meaning: str, remedy: str) -> Kind:
    return Kind(id, Severity.NOTE, False, meaning, remedy)


_AGAIN = "download or copy it again and compare its digest"
_REWRITE = "write it anew with the program that made it, or convert it to raw where you trust it"
_FLATTEN = "where you trust all of its files: `qemu-img convert -O qcow2 IN OUT` writes one that stands alone"

_ALL: tuple[Kind, ...] = (
    _refuse("body.empty", "the file has no bytes", _AGAIN),
    _refuse(
        "body.html",
        "the file is a web page, usually an error page or a login",
        "open the address in a browser and take the link to the file",
    ),
    _refuse("body.json", "the file is JSON, usually an error message", "read it: it says what went wrong"),
    _refuse("body.text", "the file is text", "read it: it may be a message, a checksum file or a list of mirrors"),
    _refuse("body.tiny", "a raw disk smaller than 1 MiB", f"{_AGAIN}; override when it is meant", override=True),
    _refuse("body.xml", "the file is XML, usually an error message of a store", "read it: it says what went wrong"),
    _refuse(
        "disk.nested",
        "the disk begins or ends like an image of another format; a program that guesses opens it as one",
        "convert the inner image and publish that",
    ),
    _refuse(
        "disk.truncated",
        "a partition ends behind the end of the disk",
        f"{_AGAIN}; override when the partition is meant to be cut",
        override=True,
    ),
    _warn("disk.overlap", "two partitions overlap", "look at the table with `sfdisk --list`"),
    _warn(
        "disk.unknown",
        "no partition table and no file system that phimage knows",
        "nothing if it is meant; no machine boots it",
    ),
    _note(
        "disk.bare",
        "a file system without a partition table around it",
        "nothing if your provisioner brings its own boot loader; no machine boots it alone",
    ),
    _refuse("examination.limit", "the metadata makes an examination read more than its limit", _REWRITE),
    _refuse(
        "format.ambiguous",
        "the file has the signatures of more than one format, so two programs may read two different disks",
        _REWRITE,
    ),
    _refuse("format.archive", "an archive (tar, OVA, zip, 7z, rar, WIM)", "unpack it and publish the disk image inside"),
    _refuse(
        "format.compressed",
        "compressed data where a disk image should be: twice, or by a program unknown here",
        "undo the compression; phimage undoes one layer of gz, xz, zst or bz2",
    ),
    _refuse(
        "format.unsupported",
        "dmg, cloop, parallels, bochs, qed, vdi, luks, qcow, cow, aff, ewf or Android sparse, which phimage does not take",
        "convert it to raw or qcow2 where you trust it",
    ),
    _warn(
        "gpt.backup-damaged",
        "the backup GPT is missing or its checksum is wrong; usual after a disk was shortened",
        "rebuild it with `gdisk` (r, d, w), or leave it",
    ),
    _warn(
        "gpt.primary-damaged",
        "the checksum of the primary GPT is wrong; the backup was read instead",
        "rebuild it with `gdisk` (r, b, w)",
    ),
    _note(
        "gpt.backup-elsewhere",
        "the backup GPT is not in the last sector; usual after a disk was enlarged",
        "nothing: most systems move it at their first boot",
    ),
    _note("gpt.hybrid", "the MBR beside the GPT has partitions of its own", "nothing: hybrid ISOs and some boards need it"),
    _refuse("inspectors.disagree", "qemu-img does not read the file, or reads another size from it than phimage", _REWRITE),
    _refuse("iso.malformed", "the volume descriptors break ISO 9660", _AGAIN),
    _refuse(
        "iso.truncated",
        "the file ends before the volume does",
        f"{_AGAIN}; override for a disc image that was always so",
        override=True,
    ),
    _note(
        "iso.not-hybrid",
        "an ISO without a partition table",
        "nothing if it is meant as a disc; written to a disk it does not boot",
    ),
    _note(
        "mbr.unusual", "an entry of the MBR has a boot flag that is neither 00 nor 80", "look at the table with `sfdisk --list`"
    ),
    _refuse("qcow2.backing-file", "the disk continues in another file, which the header names", _FLATTEN),
    _refuse("qcow2.corrupt", "a program marked the file as corrupt", "`qemu-img check -r all`, then compare with the original"),
    _refuse("qcow2.data-file", "the data is in another file, which the header names", _FLATTEN),
    _refuse("qcow2.encrypted", "the data is encrypted", "`qemu-img convert` with its secret to a plain image"),
    _refuse("qcow2.malformed", "the header or a table breaks the qcow2 rules", _REWRITE),
    _refuse("qcow2.truncated", "a table or data lies behind the end of the file", _AGAIN),
    _refuse("qcow2.unknown-feature", "the file needs a feature that phimage does not know", _REWRITE),
    _refuse("qcow2.version", "neither version 2 nor version 3", _REWRITE),
    _warn(
        "qcow2.dirty",
        "the file was not closed well; its reference counts may be wrong, its data is not touched by that",
        "`qemu-img check -r all`",
    ),
    _note("qcow2.snapshots", "the file has internal snapshots; only the present state is published", "nothing"),
    _note(
        "qcow2.unknown-extension",
        "the header has an extension that phimage does not know and that readers may ignore",
        "nothing",
    ),
    _refuse("size.limit", "the virtual size is over the limit", "shrink the disk, or override", override=True),
    _refuse(
        "size.ratio",
        "the disk is more than 10,000 times as large as the file: empty, or a decompression bomb",
        "override when you know the image",
        override=True,
    ),
    _refuse("size.zero", "the disk has no bytes", _REWRITE),
    _note(
        "size.odd",
        "the size of the raw file is no multiple of 512; it is filled up with zeros",
        "nothing if the digest is right",
    ),
    _refuse("stated.mismatch", "the file is not of the format that was stated", "state the format that it has, or none"),
    _refuse(
        "stated.unknown", "the stated format is not one that phimage takes", "state raw, iso, qcow2, vmdk, vhd or vhdx, or none"
    ),
    _note("stated.iso", "an ISO was stated to be raw, which its bytes are too", "nothing"),
    _refuse("vhd.differencing", "the disk continues in a parent file", _FLATTEN),
    _refuse("vhd.malformed", "the footer, header or table breaks the VHD rules", _REWRITE),
    _refuse("vhd.truncated", "a table or data lies behind the end of the file, or the footer at the end is missing", _AGAIN),
    _note("vhd.saved-state", "the machine of the disk was suspended, not shut down", "nothing if the file system is clean"),
    _refuse(
        "vhdx.log",
        "changes wait in the log, so the disk is not what its blocks say",
        "mount it once in Windows, or open it once writable, so that the log is replayed",
    ),
    _refuse("vhdx.malformed", "a header or table breaks the VHDX rules", _REWRITE),
    _refuse("vhdx.parent", "the disk continues in a parent file", _FLATTEN),
    _refuse("vhdx.truncated", "a table or data lies behind the end of the file", _AGAIN),
    _refuse("vhdx.unknown", "the file requires a region, an item or a sector size that phimage does not read", _REWRITE),
    _refuse(
        "vmdk.descriptor",
        "a bare descriptor: text that names the files of the disk",
        "publish the disk itself: `qemu-img convert` or `ovftool` write one file",
    ),
    _refuse("vmdk.extent", "the descriptor names another file or more than one", _FLATTEN),
    _refuse("vmdk.malformed", "the header, the descriptor or a table breaks the VMDK rules", _REWRITE),
    _refuse("vmdk.parent", "the disk continues in a parent file", _FLATTEN),
    _refuse(
        "vmdk.subformat",
        "neither monolithicSparse nor streamOptimized",
        "`qemu-img convert -O vmdk -o subformat=streamOptimized`, where you trust it",
    ),
    _refuse("vmdk.truncated", "a table or data lies behind the end of the file, or its end marker is missing", _AGAIN),
    _warn("vmdk.unclean", "the file was not closed well", "check the file system inside"),
)

KINDS = {kind.id: kind for kind in _ALL}
