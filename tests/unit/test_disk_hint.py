from __future__ import annotations

import pytest

from phimage.disk_hint import MAX_SIZE, DiskHint, read_hint
from phimage.model.host import check_hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("wwn:0x5000c500a1b2c3d5", DiskHint("wwn", "0x5000c500a1b2c3d5")),
        ("serial: ZA1 ", DiskHint("serial", "ZA1")),
        ("path:/dev/disk/by-path/pci-0000:00:1f.2-ata-1", DiskHint("path", "/dev/disk/by-path/pci-0000:00:1f.2-ata-1")),
        ("size:1k-1Ki", DiskHint("size", "1k-1Ki", 1000, 1024)),
        ("size:-2T", DiskHint("size", "-2T", 0, 2 * 1000**4)),
        ("size:447GiB-", DiskHint("size", "447GiB-", 447 << 30, MAX_SIZE)),
        ("size:512 - 512", DiskHint("size", "512 - 512", 512, 512)),
    ],
)
def test_a_hint_has_a_kind_and_sizes_are_powers_of_1000_and_of_1024(text: str, hint: DiskHint) -> None:
    assert read_hint(text) == hint
    assert check_hint(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected wwn:TEXT, serial:TEXT, path:/dev/... or size:MIN-MAX"),
        ("ZA1", "expected wwn:TEXT, serial:TEXT"),
        ("serial: ", "expected wwn:TEXT, serial:TEXT"),
        ("label:root", "expected wwn:TEXT, serial:TEXT"),
        ("/dev/sda", "expected wwn:TEXT, serial:TEXT"),
        ("size:abc", "size:abc is not a range of sizes; expected one such as size:400G-500G"),
        ("size:400", "expected one such as size:400G-500G"),
        ("size:-", "expected one such as size:400G-500G"),
        ("size:4X-5X", "'4X' is not a size; expected a number of bytes, or one with a unit such as 480G or 447Gi"),
        ("size:400i-", "'400i' is not a size"),
        ("size:500G-400G", "expected the smaller size first, as in size:400G-500G"),
    ],
)
def test_a_text_that_is_no_hint_is_refused_with_what_is_expected(text: str, expected: str) -> None:
    for read in (read_hint, check_hint):
        with pytest.raises(ValueError, match="expected") as refused:
            read(text)
        assert expected in str(refused.value)


def test_a_person_beside_a_disk_may_name_a_file_and_the_disk_of_a_host_is_a_device() -> None:
    assert read_hint("path:disk.raw") == DiskHint("path", "disk.raw")
    with pytest.raises(ValueError, match="expected a path such as path:/dev/sda"):
        check_hint("path:disk.raw")
