"""What the name of a file fills into the form, as the large distributions name their images."""

from __future__ import annotations

import pytest

from phimage.console.file_guess import FileGuess, guess


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("debian-12-genericcloud-amd64.qcow2", ("Debian 12", "Debian", "Debian 12 64bit", "12", "debian-12")),
        ("ubuntu-24.04-server-cloudimg-amd64.img", ("Ubuntu 24.04", "Ubuntu", "Ubuntu 24.04 64bit", "24.04", "ubuntu-24.04")),
        ("noble-server-cloudimg-amd64.img", ("Ubuntu 24.04", "Ubuntu", "Ubuntu 24.04 64bit", "24.04", "ubuntu-24.04")),
        ("Rocky-9.4-x86_64-minimal.iso", ("Rocky 9.4", "Rocky", "Rocky 9.4 64bit", "9.4", "rocky-9")),
        ("CentOS-7.9.raw.xz", ("CentOS 7.9", "CentOS", "CentOS 7.9 64bit", "7.9", "centos-7")),
        ("folder/windows.vhdx", ("Windows", "Windows", "Windows 64bit", "", "windows")),
    ],
)
def test_a_known_system_is_recognised(file: str, expected: tuple[str, ...]) -> None:
    assert guess(file) == FileGuess(*expected)


def test_of_a_long_name_the_beginning_is_looked_at() -> None:
    assert guess(".gz" * 1000 + "x") == FileGuess("")


@pytest.mark.parametrize("file", ["golden.raw", "disk", "", "x" * 500])
def test_of_an_unknown_name_only_the_name_is_taken(file: str) -> None:
    assert guess(file) == FileGuess(file.removesuffix(".raw")[:128])
