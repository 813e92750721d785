"""Orders as the server gives them (docs/agent-protocol.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from phimage.agent.image_source import ImageUrls
from phimage.errors import ClientError


class UnreadableOrder(ClientError):
    """The server gave an order that this agent does not understand. Use the agent of the server's version."""


@dataclass(frozen=True)
class GivenOrder:
    """An order. What concerns another kind of order is empty."""

    id: str
    kind: str
    fence: int
    lease_seconds: int
    disk: str
    """The hint."""
    image: str = ""
    manifest: str = ""
    """The digest of the image's manifest."""
    urls: ImageUrls = field(default_factory=lambda: ImageUrls("", "", ""))
    sector_size: int = 0
    disk_size: int = 0
    seed: str = ""
    job: str = ""
    upload_url: str = ""
    trim: bool = False


def read_order(fields: dict[str, Any]) -> GivenOrder:
    """The order in a response. Raises UnreadableOrder."""
    try:
        return GivenOrder(
            id=str(fields["OrderId"]),
            kind=str(fields["Kind"]),
            fence=int(fields["Fence"]),
            lease_seconds=int(fields["LeaseSeconds"]),
            disk=str(fields["Disk"]),
            image=str(fields["ImageId"]),
            manifest=str(fields["ManifestDigest"]),
            urls=ImageUrls(str(fields["ManifestUrl"]), str(fields["FramesUrl"]), str(fields["RawZstdUrl"])),
            sector_size=int(fields["SectorSize"]),
            disk_size=int(fields["DiskSize"]),
            seed=str(fields["Seed"]),
            job=str(fields["JobId"]),
            upload_url=str(fields["UploadUrl"]),
            trim=bool(fields["Trim"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        shown = json.dumps({name: fields[name] for name in ("OrderId", "Kind") if name in fields})
        raise UnreadableOrder(f"the order {shown} cannot be read ({error}): use the agent of the server's version") from None
