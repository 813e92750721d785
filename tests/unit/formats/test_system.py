"""os-release files, and checksums."""

from __future__ import annotations

import pytest

from phimage.formats.system import MAX_TEXT, parse
from phimage.formats.vhdx import crc32c


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("ID=debian", "debian"),
        ('ID="debian"', "debian"),
        ("ID='debian'", "debian"),
        ("  ID=debian  ", "debian"),
        ('ID="a \\"quoted\\" \\$word \\\\ \\`"', 'a "quoted" $word \\ `'),
        ('ID=""', ""),
        ("ID=", ""),
        ('ID="tab\there"', "tabhere"),
        ("ID=" + "x" * 1000, "x" * MAX_TEXT),
    ],
)
def test_an_assignment_is_read(line: str, value: str) -> None:
    assert parse(f"# comment\n\n{line}\r\nNAME=x\n".encode()) == {"ID": value, "NAME": "x"}


@pytest.mark.parametrize(
    "line", ["ID = debian", "id=debian", 'ID="debian', "ID=a b", "ID=$HOME", "ID=`id`", "export ID=x", "ID", "=x"]
)
def test_what_is_no_assignment_is_left_out(line: str) -> None:
    assert parse(line.encode()) == {}


def test_the_last_assignment_counts() -> None:
    assert parse(b"ID=a\nID=b\n") == {"ID": "b"}


def test_bytes_that_are_no_text_are_no_trouble() -> None:
    assert parse(b"ID=\xff\xfe\nNAME=ok\n")["NAME"] == "ok"


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720 B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c_gives_the_published_values(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum
