"""The change feed as people read it: one line for an image and a revision."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from phimage.actions.feed import ImageChange


def one_of_each(changes: Iterable[ImageChange]) -> list[ImageChange]:
    """The changes with those of one image by one revision as one, in the order of the first of them.

    The feed has an image twice when its record and its bytes changed together. It was added or withdrawn if both were, or if
    nothing else happened to it; otherwise it was changed.
    """
    found: dict[tuple[int, str], ImageChange] = {}
    for change in changes:
        key = (change.revision, change.image_id)
        known = found.get(key)
        if known is None:
            found[key] = change
        elif known.change != change.change:
            verb = "withdrawn" if "withdrawn" in (known.change, change.change) else "changed"
            found[key] = replace(known, change=verb)
    return list(found.values())
