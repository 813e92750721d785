"""Plans: what a catalogue file would change, and applying it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog.engine import Connection
from phimage.catalog.image_bytes import image_bytes_at, restore_image_bytes, withdraw_image_bytes
from phimage.catalog.images import IMAGES, adopt, images_at, images_of_file
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES, custom_images_in, topology_at
from phimage.catalog.revisions import Change
from phimage.catalog.versioned_table import VersionedTable
from phimage.catalog_file.check import CatalogState, check
from phimage.catalog_file.conversion import DeclaredSource, Records, records_in, records_of
from phimage.catalog_file.difference import Difference, Noun, difference, title
from phimage.catalog_file.errors import FileError
from phimage.catalog_file.history import IsStored, history_of, nothing_stored
from phimage.catalog_file.image_sources import in_stored_state, in_target_states, queue_fetch, sources_in
from phimage.catalog_file.read import ParsedFile, read
from phimage.model.ids import ImageId, RandomBytes, Revision, natural
from phimage.model.image import NO_PROJECT, Image, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Offer

_TABLES: dict[Noun, VersionedTable[Any]] = {
    "cluster": CLUSTERS,
    "region": REGIONS,
    "zone": ZONES,
    "machine_type": MACHINE_TYPES,
    "offer": OFFERS,
    "image": IMAGES,
}

_NOUNS: tuple[Noun, ...] = (*_TABLES, "source")


class KeptRecord(Struct, frozen=True):
    """A record of the catalogue that stays although the file does not define it, or an image that the file adopts."""

    noun: Noun
    id: str
    title: str


class Plan(Struct, frozen=True):
    """What a file would change. With errors, everything else is empty.

    `target_states` are the states that images with a source get after publication. `kept` is what pruning would withdraw.
    `spared` are published images that neither this file nor any applied file names: pruning leaves them. `adopted` are
    published images that the file names for the first time. `restored_bytes` are the bytes of restored images.
    """

    differences: tuple[Difference, ...] = ()
    target_states: Mapping[str, State] = {}
    kept: tuple[KeptRecord, ...] = ()
    errors: tuple[FileError, ...] = ()
    spared: tuple[KeptRecord, ...] = ()
    adopted: tuple[KeptRecord, ...] = ()
    restored_bytes: tuple[ImageBytes, ...] = ()

    @property
    def withdrawn_images(self) -> tuple[Difference, ...]:
        """The images that the plan withdraws."""
        return tuple(one for one in self.differences if one.noun == "image" and one.verb == "withdrawn")


def plan(connection: Connection, revision: Revision, text: str, prune: bool, is_stored: IsStored = nothing_stored) -> Plan:
    """The plan of a file's text; see `plan_of`."""
    return plan_of(connection, revision, read(text), prune, is_stored)


def plan_of(
    connection: Connection, revision: Revision, parsed: ParsedFile, prune: bool, is_stored: IsStored = nothing_stored
) -> Plan:
    """The plan of a parsed file against the newest revision. Writes nothing.

    What the file does not define stays, unless `prune` withdraws it. A machine type of the file has exactly the offers that
    the file defines.
    """
    if parsed.document is None:
        return Plan(errors=parsed.errors)
    places, images = topology_at(connection, revision), images_at(connection, revision)
    image_bytes = image_bytes_at(connection, revision, NO_PROJECT)
    named = {ImageId(doc.id) for doc in parsed.document.images}
    history = history_of(connection, parsed.document, [image.id for image in images], image_bytes)
    of_file = images_of_file(connection)
    spared = tuple(image for image in images if image.id not in of_file and image.id not in named)
    state = CatalogState(places, image_bytes, history, lambda zone: custom_images_in(connection, zone), spared)
    errors = check(parsed, state, prune=prune)
    if errors:
        return Plan(errors=errors)
    after = records_of(parsed.document)
    restored_bytes = history.restorable(is_stored)
    before: Records = {
        **records_in(places, in_target_states((image for image in images if image not in spared), image_bytes)),
        "source": sources_in({**image_bytes, **restored_bytes}, after),
    }
    differences, kept = [], []
    for noun in _NOUNS:
        for id in sorted({*before[noun], *after[noun]}, key=natural):
            old, wanted = before[noun].get(id), after[noun].get(id)
            if isinstance(old, Image) and isinstance(wanted, Image) and wanted.size == 0 and id in after["source"]:
                wanted = replace(wanted, size=old.size)  # 0 stands for the size of the disk
            if isinstance(old, Image) and isinstance(wanted, Image) and wanted.deprecation_time:
                reached = old.deprecated and old.deprecation_time == wanted.deprecation_time
                wanted = replace(wanted, deprecated=wanted.deprecated or reached)  # the file need not say what the date did
            if isinstance(wanted, Image) and wanted.id in history.images:
                has_source = id in after["source"]
                differences.append(history.restoration(wanted, restored_bytes.get(wanted.id), has_source=has_source))
            elif old is None or wanted is not None or prune or _belongs(old, after):
                if old != wanted:
                    differences.append(difference(noun, id, old, wanted))
            elif noun not in ("offer", "source"):
                kept.append(KeptRecord(noun, id, title(old)))
    return Plan(
        tuple(differences),
        target_states={doc.id: State(doc.state) for doc in parsed.document.images if doc.source},
        kept=tuple(kept),
        spared=_as_kept(spared),
        adopted=_as_kept(image for image in images if image.id not in of_file and image.id in named),
        restored_bytes=tuple(restored_bytes.values()),
    )


def _as_kept(images: Iterable[Image]) -> tuple[KeptRecord, ...]:
    return tuple(KeptRecord("image", image.id, image.name) for image in sorted(images, key=lambda image: natural(image.id)))


def _belongs(record: Any, after: Records) -> bool:
    """Whether a record is part of one that the file defines, so that leaving it out withdraws it."""
    return isinstance(record, Offer) and record.machine_type in after["machine_type"]


def apply_plan(change: Change, plan: Plan, random: RandomBytes = secrets.token_bytes) -> None:
    """Apply a plan that was made in the same transaction. Only differences and adoptions are written.

    Queues the jobs that fetch new sources. Raises QuotaExceeded when the quota has no room for restored bytes.
    """
    if plan.errors:
        raise ValueError("a file with errors cannot be applied")
    for noun, table in _TABLES.items():
        own = [difference for difference in plan.differences if difference.noun == noun]
        table.add_all(change, [one.after for one in own if one.verb in ("added", "restored")])
        changed = [one.after for one in own if one.verb == "changed"]
        withdrawn = [one.before for one in own if one.verb == "withdrawn"]
        if noun == "image":
            changed = [in_stored_state(change, image) for image in changed if isinstance(image, Image)]
            withdraw_image_bytes(change, [ImageId(one.id) for one in own if one.verb == "withdrawn"], "the image was withdrawn")
        table.change_all(change, changed)
        table.withdraw(change, *withdrawn)
    restore_image_bytes(change, plan.restored_bytes)
    adopt(change, [ImageId(image.id) for image in plan.adopted])
    for one in plan.differences:
        if isinstance(one.after, DeclaredSource):
            queue_fetch(change, one.after, plan.target_states[one.id], random)
