"""What a catalogue file would change, and changing it."""

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
from phimage.catalog_file.check import Surroundings, check
from phimage.catalog_file.difference import Difference, Noun, difference, title
from phimage.catalog_file.mistake import Mistake
from phimage.catalog_file.natural import natural
from phimage.catalog_file.past import Stored, nothing_stored, past_of
from phimage.catalog_file.read import Reading, read
from phimage.catalog_file.records import Records, Source, records_in, records_of
from phimage.catalog_file.sources import fetch, given, held, sources_in
from phimage.model.ids import ImageId, RandomBytes, Revision
from phimage.model.image import NO_PROJECT, Image, State
from phimage.model.image_bytes import ImageBytes
from phimage.model.topology import Offer

_FACTS: dict[Noun, VersionedTable[Any]] = {
    "cluster": CLUSTERS,
    "region": REGIONS,
    "zone": ZONES,
    "machine_type": MACHINE_TYPES,
    "offer": OFFERS,
    "image": IMAGES,
}

_NOUNS: tuple[Noun, ...] = (*_FACTS, "source")


class Kept(Struct, frozen=True):
    """A thing that the catalogue has and the file has not, and that stays."""

    noun: Noun
    id: str
    title: str


class Plan(Struct, frozen=True):
    """What a file would change. With mistakes, everything else is empty.

    `kept` goes when pruning is asked for. `spared` are published images that the file does not name and no applied file ever
    named: they stay, also when pruning. `adopted` are published images that the file names for the first time. `returning`
    are the bytes of restored images that the store still has.
    """

    differences: tuple[Difference, ...] = ()
    wanted: Mapping[str, State] = {}  # by image, the state that those with a source get with their bytes
    kept: tuple[Kept, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    spared: tuple[Kept, ...] = ()
    adopted: tuple[Kept, ...] = ()
    returning: tuple[ImageBytes, ...] = ()

    @property
    def withdrawn_images(self) -> tuple[Difference, ...]:
        """The images that are withdrawn."""
        return tuple(found for found in self.differences if found.noun == "image" and found.verb == "withdrawn")


def plan(connection: Connection, revision: Revision, text: str, prune: bool, stored: Stored = nothing_stored) -> Plan:
    """What the text of a file would change; see `plan_of`."""
    return plan_of(connection, revision, read(text), prune, stored)


def plan_of(connection: Connection, revision: Revision, reading: Reading, prune: bool, stored: Stored = nothing_stored) -> Plan:
    """What a file would change in the catalogue of a revision, the newest one.

    What the file does not name stays, unless `prune` asks to withdraw it; the offers of a machine type that the file
    names are wholly given by the file. Nothing is written.
    """
    if reading.document is None:
        return Plan(mistakes=reading.mistakes)
    places, images = topology_at(connection, revision), images_at(connection, revision)
    contents = image_bytes_at(connection, revision, NO_PROJECT)
    named = {ImageId(doc.id) for doc in reading.document.images}
    past = past_of(connection, reading.document, [image.id for image in images], contents)
    of_file = images_of_file(connection)
    spared = tuple(image for image in images if image.id not in of_file and image.id not in named)
    around = Surroundings(places, contents, past, lambda zone: custom_images_in(connection, zone), spared)
    mistakes = check(reading, around, prune=prune)
    if mistakes:
        return Plan(mistakes=mistakes)
    after = records_of(reading.document)
    returning = past.returning(stored)
    within_reach = given((image for image in images if image not in spared), contents)
    before: Records = {
        **records_in(places, within_reach),
        "source": sources_in({**contents, **returning}, after),
    }
    differences, kept = [], []
    for noun in _NOUNS:
        for id in sorted({*before[noun], *after[noun]}, key=natural):
            old, wanted = before[noun].get(id), after[noun].get(id)
            if isinstance(old, Image) and isinstance(wanted, Image) and wanted.size == 0 and id in after["source"]:
                wanted = replace(wanted, size=old.size)  # what its disk needs
            if isinstance(wanted, Image) and wanted.id in past.images:
                differences.append(past.comes_back(wanted, returning.get(wanted.id), sourced=id in after["source"]))
            elif old is None or wanted is not None or prune or _belongs(old, after):
                if old != wanted:
                    differences.append(difference(noun, id, old, wanted))
            elif noun not in ("offer", "source"):
                kept.append(Kept(noun, id, title(old)))
    return Plan(
        tuple(differences),
        wanted={doc.id: State(doc.state) for doc in reading.document.images if doc.source},
        kept=tuple(kept),
        spared=_as_kept(spared),
        adopted=_as_kept(image for image in images if image.id not in of_file and image.id in named),
        returning=tuple(returning.values()),
    )


def _as_kept(images: Iterable[Image]) -> tuple[Kept, ...]:
    return tuple(Kept("image", image.id, image.name) for image in sorted(images, key=lambda image: natural(image.id)))


def _belongs(record: Any, after: Records) -> bool:
    """Whether a record is part of a thing that the file names, and goes when the file does not name it."""
    return isinstance(record, Offer) and record.machine_type in after["machine_type"]


def carry_out(change: Change, plan: Plan, random: RandomBytes = secrets.token_bytes) -> None:
    """Make the catalogue as a plan wants it. The plan was made in the same transaction, of the revision before the change.

    What does not change is not written; a plan without differences records adopted images at most. Images with a new source
    get their bytes from a publisher, later. Raises QuotaExceeded when the bytes of restored images have no room.
    """
    if plan.mistakes:
        raise ValueError("a file with mistakes cannot be carried out")
    for noun, facts in _FACTS.items():
        own = [difference for difference in plan.differences if difference.noun == noun]
        facts.add_all(change, [one.after for one in own if one.verb in ("added", "restored")])
        changed = [one.after for one in own if one.verb == "changed"]
        gone = [one.before for one in own if one.verb == "withdrawn"]
        if noun == "image":
            changed = [held(change, image) for image in changed if isinstance(image, Image)]
            withdraw_image_bytes(change, [ImageId(one.id) for one in own if one.verb == "withdrawn"], "the image was withdrawn")
        facts.change_all(change, changed)
        facts.withdraw(change, *gone)
    restore_image_bytes(change, plan.returning)
    adopt(change, [ImageId(image.id) for image in plan.adopted])
    for one in plan.differences:
        if isinstance(one.after, Source):
            fetch(change, one.after, plan.wanted[one.id], random)
