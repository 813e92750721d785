"""The kinds of findings that belong to no single image format."""

from __future__ import annotations

from typing import Final

from phimage.formats.finding import FETCH_AGAIN, REWRITE, notes, refuses, warns

GENERAL_KINDS: Final = (
    refuses("body.empty", "the file has no bytes", FETCH_AGAIN),
    refuses(
        "body.html",
        "the file is a web page, usually an error page or a login",
        "open the address in a browser and take the link to the file",
    ),
    refuses("body.json", "the file is JSON, usually an error message", "read it: it says what went wrong"),
    refuses("body.text", "the file is text", "read it: it may be a message, a checksum file or a list of mirrors"),
    refuses("body.tiny", "a raw disk smaller than 1 MiB", f"{FETCH_AGAIN}; override when it is meant", override=True),
    refuses("body.xml", "the file is XML, usually an error message of a store", "read it: it says what went wrong"),
    refuses(
        "disk.nested",
        "the disk begins or ends like an image of another format; a program that guesses formats opens it as one",
        "convert the inner image and publish that",
    ),
    refuses(
        "disk.truncated",
        "a partition ends beyond the end of the disk",
        f"{FETCH_AGAIN}; override when the partition is meant to be cut",
        override=True,
    ),
    warns("disk.overlap", "two partitions overlap", "look at the table with `sfdisk --list`"),
    # docs/decisions.md#a-disk-with-nothing-on-it-is-refused
    refuses(
        "disk.unknown",
        "no partition table and no file system that phimage knows",
        f"{FETCH_AGAIN}; override when it is meant: no machine boots it",
        override=True,
    ),
    notes(
        "disk.bare",
        "a file system without a partition table around it",
        "nothing if your provisioner brings its own boot loader; no machine boots it alone",
    ),
    refuses("examination.limit", "the metadata makes an examination read more than its limit", REWRITE),
    refuses(
        "format.ambiguous",
        "the file has the signatures of more than one format, so two programs may read two different disks",
        REWRITE,
    ),
    refuses("format.archive", "an archive (tar, OVA, zip, 7z, rar, WIM)", "unpack it and publish the disk image inside"),
    refuses(
        "format.compressed",
        "compressed data where a disk image should be: twice, or by an unsupported program",
        "undo the compression; phimage undoes one layer of gz, xz, zst or bz2",
    ),
    refuses(
        "format.unsupported",
        "dmg, cloop, parallels, bochs, qed, vdi, luks, qcow, cow, aff, ewf or Android sparse, which phimage does not accept",
        "convert it to raw or qcow2 where you trust it",
    ),
    warns(
        "gpt.backup-damaged",
        "the backup GPT is missing or its checksum is wrong; usual after a disk was shortened",
        "rebuild it with `gdisk` (r, d, w), or leave it",
    ),
    warns(
        "gpt.primary-damaged",
        "the checksum of the primary GPT is wrong; the backup was read instead",
        "rebuild it with `gdisk` (r, b, w)",
    ),
    notes(
        "gpt.backup-elsewhere",
        "the backup GPT is not in the last sector; usual after a disk was enlarged",
        "nothing: most systems move it at their first boot",
    ),
    notes("gpt.hybrid", "the MBR beside the GPT has partitions of its own", "nothing: hybrid ISOs and some boards need it"),
    refuses("inspectors.disagree", "qemu-img does not read the file, or reads another size from it than phimage", REWRITE),
    notes(
        "mbr.unusual", "an entry of the MBR has a boot flag that is neither 00 nor 80", "look at the table with `sfdisk --list`"
    ),
    refuses("size.limit", "the virtual size is over the limit", "shrink the disk, or override", override=True),
    refuses(
        "size.ratio",
        "the disk is more than 10,000 times as large as the file: empty, or a decompression bomb",
        "override when you know the image",
        override=True,
    ),
    refuses("size.zero", "the disk has no bytes", REWRITE),
    notes(
        "size.odd",
        "the size of the raw file is not a multiple of 512; it is padded with zeros",
        "nothing if the digest is right",
    ),
    refuses("stated.mismatch", "the file is not of the format that was stated", "state the format that it has, or none"),
    refuses(
        "stated.unknown",
        "phimage does not accept the stated format",
        "state raw, iso, qcow2, vmdk, vhd or vhdx, or none",
    ),
    notes("stated.iso", "an ISO was stated to be raw, which its bytes are too", "nothing"),
)
