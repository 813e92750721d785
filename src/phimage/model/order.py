"""Orders: what the agent of a host is to do with the host's disk."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from phimage.model.ids import AccountId, HostId, ImageId, JobId, ManifestDigest, OrderId, ProjectId
from phimage.model.image import NO_PROJECT

LEASE_SECONDS = 60
"""An agent without an answer for so long stops writing until it has one, and its host counts as switched off."""
SILENT_SECONDS = 30 * 60
"""An order whose agent is silent for so long is ended."""


class OrderKind(StrEnum):
    """Write an image to the disk, read the disk into an image, or overwrite the disk with zeros."""

    DEPLOY = "deploy"
    CAPTURE = "capture"
    CLEAN = "clean"


class OrderState(StrEnum):
    """Open → Done, Failed or Ended; Ended by a person, and not by its agent."""

    OPEN = "Open"
    DONE = "Done"
    FAILED = "Failed"
    ENDED = "Ended"


class Order(Struct, frozen=True):
    """An order to a host's agent. `fence` counts how often it was given out: an agent with an older number has lost it.

    `image` and `manifest` are those to deploy, or the image to make with `job`. `heard` is when the agent last named it, Unix
    seconds like `created` and `ended`. `done` and `total` are bytes of the phase; `sent` bytes crossed the network and `reused`
    bytes did not have to. `receipt` is the agent's, verbatim.
    """

    id: OrderId
    host: HostId
    kind: OrderKind
    created: float
    heard: float
    image: ImageId = ImageId("")
    manifest: ManifestDigest = ManifestDigest("")
    job: JobId = JobId("")
    project: ProjectId = NO_PROJECT
    account: AccountId = AccountId("")
    actor: str = ""
    trim: bool = False
    state: OrderState = OrderState.OPEN
    fence: int = 0
    phase: str = ""
    done: int = 0
    total: int = 0
    sent: int = 0
    reused: int = 0
    error: str = ""
    receipt: str = ""
    ended: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the agent may still work on it."""
        return self.state is OrderState.OPEN

    def is_silent(self, now: float) -> bool:
        """Whether its agent was silent for too long. A clean disk is not urgent: that order waits until an agent takes it."""
        waits = self.kind is OrderKind.CLEAN and not self.fence
        return self.is_open and not waits and now - self.heard > SILENT_SECONDS
