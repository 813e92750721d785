"""Work that takes longer than a request: publishing an image's bytes."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from phimage.model.ids import ImageId, JobId


class JobState(StrEnum):
    """Waiting for an upload → Queued → Running → Done or Failed. A running job whose lease ran out may be claimed again."""

    WAITING = "Waiting"
    QUEUED = "Queued"
    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"


class Origin(Struct, frozen=True):
    """Where an image's bytes come from. `url` is empty for an upload; `digest` is empty for trust on first use.

    `format` is what the publisher says the file is, empty for whatever it is found to be; `overrides` are the ids of findings
    that the operator takes the blame for.
    """

    url: str = ""
    digest: str = ""
    checksum_url: str = ""
    format: str = ""
    overrides: tuple[str, ...] = ()


class Job(Struct, frozen=True):
    """One piece of work. `fence` counts how often it was claimed: who holds an older number has lost it.

    Times are Unix seconds; `done` and `total` are bytes of the phase, `total` 0 when it is not known.
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
