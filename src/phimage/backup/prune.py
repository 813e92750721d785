"""Removing old backups, and what no other backup needs."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from phimage.backup.place import GRACE_SECONDS, Place
from phimage.chunks.gc import GcReport, collect_garbage


class Pruned(Struct, frozen=True):
    """What was removed."""

    names: tuple[str, ...]
    report: GcReport


def prune(
    place: Place, keep: int, *, now: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> Pruned:
    """Keep the newest backups, and remove the others with the chunks that only they needed. Safe at any time, and to repeat.

    The argument of `chunks.collect` holds with g = GRACE_SECONDS: a backup is a writer, its record registers its manifests, and
    `place.needed` names those of all records. Raises BackupFailed when a record is damaged, and then removes nothing.
    """
    begun = now()
    names = [record.name for record in place.records()][: -max(keep, 1)]
    for name in names:
        place.remove(name)
    report = collect_garbage(place.store, place.needed, now=begun, grace_seconds=GRACE_SECONDS, sleep=sleep)
    return Pruned(tuple(names), report)
