"""The bytes of an image: where they come from, and what they contain once they are stored."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from phimage.model.ids import ImageId, ManifestDigest, ProjectId
from phimage.model.image import Image, State

GIB = 1 << 30


class TableFacts(Struct, frozen=True):
    """A partition table: gpt or mbr. A hybrid one has both."""

    type: str
    id: str
    hybrid: bool


class FilesystemFacts(Struct, frozen=True):
    """A file system, as blkid shows it. `kind` is a name such as ext4, xfs, vfat, swap, LVM2_member, crypto_LUKS."""

    kind: str
    label: str = ""
    uuid: str = ""


class PartitionFacts(Struct, frozen=True, omit_defaults=True):
    """A partition. `start` and `size` are bytes; `type` is a GUID or two hexadecimal digits."""

    number: int
    start: int
    size: int
    type: str
    type_name: str
    name: str
    uuid: str
    active: bool
    filesystem: FilesystemFacts | None = None


class SystemFacts(Struct, frozen=True):
    """An operating system, in the words of os-release(5). `architecture` is that of uname, "" when unknown."""

    id: str
    version_id: str
    name: str
    pretty_name: str
    codename: str
    architecture: str


# docs/decisions.md#facts-of-a-disk-omit-unknown-values
class DiskFacts(Struct, frozen=True, omit_defaults=True):
    """The results of a disk's inspection, visible to everyone who may see the image. Its JSON omits unknown values.

    `boot` is None before the inspection; afterwards it holds "bios" and "uefi", where the disk boots with them.
    """

    boot: tuple[str, ...] | None = None
    sector_size: int = 0
    table: TableFacts | None = None
    partitions: tuple[PartitionFacts, ...] | None = None
    filesystem: FilesystemFacts | None = None
    system: SystemFacts | None = None
    kernels: tuple[str, ...] = ()


class ImageBytes(Struct, frozen=True):
    """The bytes of one image. `manifest` is empty until they are stored and verified; then they never change.

    `project` is the image's. `source` is the URL that they come from, empty for an upload. `source_digest` is that of the
    original file (`sha256:<hex>`): first the expected one, empty for trust on first use, then the computed one;
    `digest_origin` is the reason why it is trusted, for people. `overrides` are the findings that the operator accepted.
    `target_state` is the state that the image gets with its bytes; `failure` is the reason why it did not get them.

    `manifest` names the bytes in the store; `sha256` and `size` are of the raw disk, in hexadecimal and in bytes; `published`
    is Unix seconds. `findings` are the findings of the inspection, as `id: text`, for the operator.
    """

    image: ImageId
    project: ProjectId
    source: str = ""
    # docs/decisions.md#two-digests-are-kept-apart
    source_digest: str = ""
    digest_origin: str = ""
    format: str = ""
    overrides: tuple[str, ...] = ()
    # docs/decisions.md#the-target-state-waits-for-the-bytes
    target_state: State = State.AVAILABLE
    manifest: ManifestDigest = ManifestDigest("")
    sha256: str = ""
    size: int = 0
    published: int = 0
    failure: str = ""
    findings: tuple[str, ...] = ()
    facts: DiskFacts = DiskFacts()

    @property
    def stored(self) -> bool:
        """Whether the bytes are stored and verified."""
        return bool(self.manifest)


def image_size(size: int) -> int:
    """ImageSize of a raw disk: its bytes in GiB, rounded up (wire-protocol B12)."""
    return -(-size // GIB)


def in_target_state(image: Image, image_bytes: ImageBytes | None) -> Image:
    """The image in the state that its publisher wants, even if its bytes are still being published."""
    if image_bytes is None or image_bytes.stored:
        return image
    return replace(image, state=image_bytes.target_state)


class Quota(Struct, frozen=True):
    """A limit of the total size of a project's raw disks, including those that are being published.

    Without a quota only the store limits a project. The project "" stands for the operator's base images.
    """

    project: ProjectId
    max_bytes: int


class Use(Struct, frozen=True):
    """The use of a quota: bytes of stored disks, and of disks that are being published."""

    published: int
    reserved: int

    @property
    def total(self) -> int:
        """All bytes that count against the quota."""
        return self.published + self.reserved
