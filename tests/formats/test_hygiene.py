"""The scan for traces of one machine, on file systems that mke2fs makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from phimage.formats import hygiene
from phimage.formats.disk import describe
from phimage.formats.finding import Severity
from phimage.formats.reader import BytesReader, FileReader, ReaderAt
from tests.images.kept import run

MIB = 1 << 20
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\n"
TRACES: Mapping[str, Mapping[str, str]] = {
    "hygiene.host-keys": {"/etc/ssh/ssh_host_ed25519_key": KEY, "/etc/ssh/ssh_host_rsa_key": KEY},
    "hygiene.machine-id": {"/etc/machine-id": "3f0b5c5d4c6a4c5b9d8f7e6a5b4c3d2e\n"},
    "hygiene.cloud-init": {"/var/lib/cloud/instances/i-1/obj.pkl": "x"},
    "hygiene.leases": {"/var/lib/dhcp/dhclient.leases": "lease {}", "/var/lib/NetworkManager/internal-eth0.lease": "x"},
    "hygiene.history": {"/home/ann/.zsh_history": "id", "/root/.bash_history": "mysql -psecret"},
    "hygiene.authorized-keys": {"/home/ann/.ssh/authorized_keys": "ssh-ed25519 AAAA", "/root/.ssh/authorized_keys": "ssh-rsa"},
    "hygiene.tokens": {"/etc/krb5.keytab": "k", "/home/ann/.aws/credentials": "x", "/root/.ssh/deploy": KEY},
}
CLEAN = {
    "/etc/os-release": "ID=debian\n",
    "/etc/machine-id": "uninitialized\n",
    "/etc/ssh/ssh_host_ed25519_key.pub": "ssh-ed25519 AAAA",
    "/etc/ssh/sshd_config": "# none",
    "/home/ann/.bash_history": "\n",
    "/home/ann/.ssh/known_hosts": "host ssh-ed25519 AAAA",
    "/root/.ssh/authorized_keys": "",
    "/var/lib/cloud/seed/nocloud/meta-data": "x",
    "/var/lib/dhcp/dhclient.leases": "",
}


def disk(folder: Path, files: Mapping[str, str], *, kind: str = "ext4") -> Path:
    """A disk with one partition and a file system that has these files."""
    tree = folder / "tree"
    for path, text in files.items():
        place = tree / path[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    made = folder / "disk"
    with made.open("wb") as file:
        file.truncate(16 * MIB)
    run("sfdisk", "-q", made, text="label: dos\nstart=2048, type=83\n")
    run("mke2fs", "-q", "-F", "-t", kind, "-E", f"offset={MIB}", "-d", tree, made, f"{15 << 10}k")
    return made


def scan(reader: ReaderAt) -> dict[str, str]:
    return {finding.id: finding.text for finding in hygiene.scan(reader, describe(reader))}


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
def test_all_traces_are_named_and_none_is_shown(tmp_path: Path, kind: str) -> None:
    files = {path: text for each in TRACES.values() for path, text in each.items()}
    expected = {id: ", ".join(sorted(each)) for id, each in TRACES.items()} | {"hygiene.cloud-init": "/var/lib/cloud/instances"}
    with FileReader(disk(tmp_path, files, kind=kind)) as reader:
        assert scan(reader) == expected


def test_a_clean_system_has_none(tmp_path: Path) -> None:
    with FileReader(disk(tmp_path, CLEAN)) as reader:
        assert scan(reader) == {}


def test_a_home_on_a_partition_of_its_own_is_scanned(tmp_path: Path) -> None:
    with FileReader(disk(tmp_path, {"/ann/.netrc": "password x", "/ann/.bash_history": "id"})) as reader:
        assert scan(reader) == {"hygiene.history": "/ann/.bash_history", "hygiene.tokens": "/ann/.netrc"}


def test_many_traces_are_counted(tmp_path: Path) -> None:
    with FileReader(disk(tmp_path, {f"/home/user{number}/.netrc": "x" for number in range(9)})) as reader:
        found = scan(reader)["hygiene.tokens"]
    assert found == f"{', '.join(f'/home/user{number}/.netrc' for number in range(5))} and 4 more"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    made = disk(tmp_path, CLEAN)
    data = bytearray(made.read_bytes())
    data[MIB + 2048 : MIB + 4096] = b"\xff" * 2048  # group descriptors
    assert scan(BytesReader(data)) == {"hygiene.unread": "ext4 in partition 1, which is damaged or too large to scan"}
    data[MIB : MIB + 512] = b"XFSB" + bytes(508)
    assert "xfs in partition 1" in scan(BytesReader(data)).get("hygiene.unread", "")


def test_hostile_names_are_shown_printable(tmp_path: Path) -> None:
    with FileReader(disk(tmp_path, {"/etc/ssh/ssh_host_\x1b[31m_key": "x"})) as reader:
        assert scan(reader) == {"hygiene.host-keys": "/etc/ssh/ssh_host_?[31m_key"}


def test_nothing_of_it_stops_a_publication() -> None:
    assert {kind.severity for kind in hygiene.KINDS} == {Severity.WARN, Severity.NOTE}
