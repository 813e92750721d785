"""Jobs: work that takes longer than a request, which is the publication of an image's bytes."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from phimage.model.ids import AccountId, HostId, ImageId, JobId, ProjectId
from phimage.model.image import NO_PROJECT


class JobState(StrEnum):
    """Waiting for an upload → Queued → Running → Done or Failed. A running job with an expired lease can be claimed again."""

    WAITING = "Waiting"
    QUEUED = "Queued"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


UNFINISHED = (JobState.WAITING, JobState.QUEUED, JobState.RUNNING)
CANCELLED = "cancelled by "
"""The begin of the error of a job that a person ended."""


class Origin(Struct, frozen=True):
    """The origin of an image's bytes. `url` is empty for an upload; `digest` is empty for trust on first use.

    `name` is the file name in a checksum file; `size` is the original's bytes, 0 if unknown; `sent` is the digest that the
    uploading client computed. `format` is the format that the publisher states, empty for the detected one; `overrides` are the
    ids of findings that the operator accepts. `tenant` is the account that publishes an image of its own, empty for an
    operator: it uploads the parts and sees the reason of a failure, and its URLs reach the public internet alone. `host` is
    that whose agent sends its disk, empty for any other origin.
    """

    url: str = ""
    digest: str = ""
    checksum_url: str = ""
    format: str = ""
    overrides: tuple[str, ...] = ()
    name: str = ""
    size: int = 0
    sent: str = ""
    # docs/decisions.md#tenants-fetch-from-the-public-internet-alone
    tenant: AccountId = AccountId("")
    host: HostId = HostId("")


class JobLease(Struct, frozen=True):
    """The lease of a running job. Each renewal changes `lease_until`."""

    id: JobId
    fence: int
    lease_until: float


class Job(Struct, frozen=True):
    """The publication of an image's bytes. `fence` counts its claims: a worker with an older number has lost it.

    Times are Unix seconds; `done` and `total` are bytes of the phase, `total` 0 if unknown. `actor` requested it; `token` makes
    the request idempotent. `reserved` bytes count against the project's quota while the job is unfinished. `failures` counts
    the consecutive failures of its source; it is not claimed before `not_before`. `sent` bytes of the original have arrived;
    the store had `reused` bytes of the disk already, which is known at the end.
    """

    id: JobId
    image: ImageId
    origin: Origin
    state: JobState
    phase: str
    done: int
    total: int
    error: str
    owner: str
    fence: int
    lease_until: float
    created: float
    project: ProjectId = NO_PROJECT
    actor: str = ""
    token: str = ""
    reserved: int = 0
    not_before: float = 0.0
    failures: int = 0
    sent: int = 0
    reused: int = 0

    @property
    def unfinished(self) -> bool:
        """Whether the job is neither done nor failed."""
        return self.state in UNFINISHED


def new_job(
    id: JobId,
    image: ImageId,
    origin: Origin,
    created: float,
    *,
    project: ProjectId = NO_PROJECT,
    actor: str = "",
    token: str = "",
    reserved: int = 0,
) -> Job:
    """A new job: queued if its origin is a URL, otherwise waiting for the upload."""
    return Job(
        id=id,
        image=image,
        origin=origin,
        state=JobState.QUEUED if origin.url else JobState.WAITING,
        phase="",
        done=0,
        total=0,
        error="",
        owner="",
        fence=0,
        lease_until=0.0,
        created=created,
        project=project,
        actor=actor,
        token=token,
        reserved=reserved,
    )
