"""Where machines are: regions, their zones, and the network kinds called clusters."""

from __future__ import annotations

from msgspec import Struct

from phimage.model.ids import ClusterId, RegionId, ZoneId


class Region(Struct, frozen=True):
    """A region. `number` is `RegionId` on the wire: unique, 32 bits, never used again for another region."""

    id: RegionId
    number: int
    name_zh: str
    name_en: str
    default: bool


class Zone(Struct, frozen=True):
    """An availability zone of one region."""

    id: ZoneId
    region: RegionId
    name_zh: str
    name_en: str


class Cluster(Struct, frozen=True):
    """A network kind of machines, such as 25G. The default one is meant when a query names only a machine type."""

    id: ClusterId
    description: str
    default: bool
