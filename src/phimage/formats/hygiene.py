"""Traces of one machine on a disk that many machines will be installed with: keys, ids, histories, tokens, leases.

The scan reads ext2, ext3 and ext4 through `ext4.py`, mounts nothing and changes nothing. Findings name files and never have
what is in them. It is a help and no proof: a program may keep a secret anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from phimage.formats.disk import DiskDescription
from phimage.formats.errors import FormatError, Malformed
from phimage.formats.ext4 import Ext4
from phimage.formats.finding import Finding, InspectionReport, notes, warns
from phimage.formats.limits import MIB
from phimage.formats.reader import MeteredReader, PagedReader, PartReader, ReaderAt

KINDS: Final = (
    warns(
        "hygiene.authorized-keys",
        "the owners of these SSH keys may log in to every machine that gets the image",
        "remove the file where the keys are not meant for all of them",
    ),
    notes(
        "hygiene.cloud-init",
        "cloud-init has run on this disk; it does some of its work only where it has not",
        "before the next capture: `cloud-init clean --logs`",
    ),
    warns(
        "hygiene.history",
        "the commands that somebody typed, which may have passwords in them",
        "before the next capture: remove the file",
    ),
    warns(
        "hygiene.host-keys",
        "every machine that gets the image has the same SSH host keys, and so has everyone who downloads it",
        "before the next capture: `rm /etc/ssh/ssh_host_*_key*`, and let cloud-init or `ssh-keygen -A` make new ones",
    ),
    notes(
        "hygiene.leases",
        "addresses that a DHCP server gave to the machine; others would ask for the same",
        "before the next capture: remove the files",
    ),
    warns(
        "hygiene.machine-id",
        "every machine that gets the image has the same machine id, by which networks and logs distinguish machines",
        "before the next capture: `echo uninitialized > /etc/machine-id; rm -f /var/lib/dbus/machine-id`",
    ),
    warns(
        "hygiene.tokens",
        "files in which programs keep keys, passwords or tokens",
        "before the next capture: remove them, and revoke those that others may have read",
    ),
    notes(
        "hygiene.unread",
        "a file system that this scan cannot read, or not as a whole",
        "look yourself for keys, ids, histories, tokens and leases",
    ),
)
"""docs/how-to/capture-a-host.md shows them."""

READING: Final = 32 * MIB
MAX_HOMES: Final = 64
MAX_NAMES: Final = 5

_KEYS: Final = "etc/ssh"
_LEASES: Final = {
    "var/lib/dhcp": ".leases",
    "var/lib/dhclient": ".leases",
    "var/lib/dhcpcd": ".lease",
    "var/lib/NetworkManager": ".lease",
}
_HISTORIES: Final = frozenset(
    {".bash_history", ".zsh_history", ".ash_history", ".history", ".mysql_history", ".psql_history", ".python_history"}
)
_SECRETS: Final = (  # below a home
    ".aws/credentials",
    ".azure/msal_token_cache.json",
    ".config/gcloud/application_default_credentials.json",
    ".config/gcloud/credentials.db",
    ".config/phimage/config.toml",
    ".docker/config.json",
    ".git-credentials",
    ".kube/config",
    ".netrc",
    ".pgpass",
    ".ucloud/credential.json",
    ".vault-token",
)
_SYSTEM_SECRETS: Final = ("etc/kubernetes/admin.conf", "etc/krb5.keytab", "var/lib/kubelet/pki/kubelet-client-current.pem")
_UNREAD: Final = frozenset({"xfs", "btrfs", "LVM2_member", "crypto_LUKS", "linux_raid_member", "zfs_member", "f2fs", "ntfs"})
_UNINITIALIZED: Final = frozenset({b"", b"uninitialized"})  # machine-id(5)


# docs/decisions.md#traces-of-a-machine-are-named-for-every-publication
def scan(disk: ReaderAt, description: DiskDescription) -> tuple[Finding, ...]:
    """What the file systems of a disk have of one machine. The description is that of the disk."""
    report = InspectionReport({kind.id: kind for kind in KINDS})
    reader = MeteredReader(PagedReader(disk), READING)
    unread: list[str] = []
    traces: dict[str, list[str]] = {}
    for place, kind, part in _filesystems(reader, description):
        if kind in _UNREAD:
            unread.append(f"{kind} {place}")
        elif kind.startswith("ext"):
            try:
                for id, path in _traces(Ext4(part)):
                    traces.setdefault(id, []).append(path)
            except FormatError:
                unread.append(f"{kind} {place}, which is damaged or too large to scan")
    for id, paths in sorted(traces.items()):
        report.note(id, _listed(sorted(paths)))
    if unread:
        report.note("hygiene.unread", _listed(unread))
    return report.findings


def _filesystems(disk: ReaderAt, description: DiskDescription) -> Iterator[tuple[str, str, ReaderAt]]:
    for slot in description.partitions:
        if slot.filesystem:
            yield f"in partition {slot.number}", slot.filesystem.kind, PartReader(disk, slot.start, slot.size)
    if description.filesystem:
        yield "on the whole disk", description.filesystem.kind, disk


def _traces(files: Ext4) -> Iterator[tuple[str, str]]:
    """Kinds of findings and paths. Also where a file system is not a root: /home or /var may be one of their own."""
    if not files.names(""):
        raise Malformed("a file system without files")
    for name in files.names(_KEYS):
        if name.startswith("ssh_host_") and name.endswith("_key"):
            yield "hygiene.host-keys", f"/{_KEYS}/{name}"
    for path in ("etc/machine-id", "var/lib/dbus/machine-id"):
        if (files.read_file(path, 64) or b"").strip() not in _UNINITIALIZED:
            yield "hygiene.machine-id", f"/{path}"
            break  # the second one is a link to the first, or a copy
    if files.names("var/lib/cloud/instances"):
        yield "hygiene.cloud-init", "/var/lib/cloud/instances"
    for folder, ending in _LEASES.items():
        for name in files.names(folder):
            if name.endswith(ending) and _has_bytes(files, f"{folder}/{name}"):
                yield "hygiene.leases", f"/{folder}/{name}"
    yield from (("hygiene.tokens", f"/{path}") for path in _SYSTEM_SECRETS if _has_bytes(files, path))
    for home in _homes(files):
        yield from _traces_of_home(files, home)


def _homes(files: Ext4) -> Iterator[str]:
    yield "root"
    for name in files.names("home")[:MAX_HOMES]:
        yield f"home/{name}"
    if not files.names("etc"):  # perhaps /home itself
        yield from files.names("")[:MAX_HOMES]


def _traces_of_home(files: Ext4, home: str) -> Iterator[tuple[str, str]]:
    names = set(files.names(home))
    for name in sorted(names & _HISTORIES):
        if _has_bytes(files, f"{home}/{name}"):
            yield "hygiene.history", f"/{home}/{name}"
    if ".ssh" in names:
        for name in files.names(f"{home}/.ssh"):
            path = f"{home}/.ssh/{name}"
            if name in ("authorized_keys", "authorized_keys2") and _has_bytes(files, path):
                yield "hygiene.authorized-keys", f"/{path}"
            elif b"PRIVATE KEY-----" in (files.read_file(path, 64) or b""):
                yield "hygiene.tokens", f"/{path}"
    for path in _SECRETS:
        if path.partition("/")[0] in names and _has_bytes(files, f"{home}/{path}"):
            yield "hygiene.tokens", f"/{home}/{path}"


def _has_bytes(files: Ext4, path: str) -> bool:
    return bool((files.read_file(path, 4096) or b"").strip(b"\0\r\n\t "))


def _listed(paths: Iterable[str]) -> str:
    shown = ["".join(letter if letter.isprintable() else "?" for letter in path)[:80] for path in paths]
    more = f" and {len(shown) - MAX_NAMES} more" if len(shown) > MAX_NAMES else ""
    return ", ".join(shown[:MAX_NAMES]) + more
