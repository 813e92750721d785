"""Work that takes longer than a request: publishing an image's bytes."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from phimage.model.ids import ImageId, JobId, ProjectId
from phimage.model.image import NO_PROJECT


class JobState(StrEnum):
    """Waiting for an upload → Queued → Running → Done or Failed. A running job whose lease ran out may be claimed again."""

    WAITING = "Waiting"
    QUEUED = "Queued"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


class Origin(Struct, frozen=True):
    """Where an image's bytes come from. `url` is empty for an upload; `digest` is empty for trust on first use.

    `name` is the original file's, for finding it in a checksum file; `size` is its bytes, 0 when they are not known; `sent` is
    the digest that the sender of an upload computed. `format` is what the publisher says the file is, empty for whatever it
    is found to be; `overrides` are the ids of findings that the operator takes the blame for.
    """

    url: str = ""
    digest: str = ""
    checksum_url: str = ""
    format: str = ""
    overrides: tuple[str, ...] = ()
    name: str = ""
    size: int = 0
    sent: str = ""


class Lease(Struct, frozen=True):
    """The lease of a running job, as its worker renewed it last. Each renewal changes `lease_until`."""

    id: JobId
    fence: int
    lease_until: float


class Job(Struct, frozen=True):
    """One piece of work. `fence` counts how often it was claimed: who holds an older number has lost it.

    Times are Unix seconds; `done` and `total` are bytes of the phase, `total` 0 when it is not known. `actor` asked for it; the
    same `token` asks for the same once more. `reserved` bytes count against the project's quota while it is unfinished.
    `failures` counts how often its source failed in a row; it is not claimed before `not_before`.
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

    @property
    def unfinished(self) -> bool:
        """Whether something can still come of it."""
        return self.state not in (JobState.DONE, JobState.FAILED)


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
    """A job that nobody has begun: queued when its bytes are at a URL, otherwise waiting for their upload."""
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
