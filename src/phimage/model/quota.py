"""How many bytes a project may have published."""

from __future__ import annotations

from msgspec import Struct

from phimage.model.ids import ProjectId


class Quota(Struct, frozen=True):
    """The most bytes that the raw disks of a project's images may have together, those that are being published among them.

    A project without a quota may publish as much as the store takes. The project "" stands for the operator's base images.
    """

    project: ProjectId
    max_bytes: int


class Use(Struct, frozen=True):
    """What a project uses: bytes of the disks that it has, and of those that are being published."""

    published: int
    reserved: int

    @property
    def total(self) -> int:
        """What counts against a quota."""
        return self.published + self.reserved
