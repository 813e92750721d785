"""What a revision changed agrees with a naive model: whole copies of the catalogue, revision by revision."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from phimage.catalog.accounts import KEYS, MEMBERSHIPS
from phimage.catalog.history import find_revision, steps_of
from phimage.catalog.image_bytes import QUOTAS
from phimage.catalog.images import IMAGES
from phimage.catalog.places import OFFERS
from phimage.catalog.views import Catalog
from phimage.model.account import Role
from phimage.model.ids import ProjectId, Revision
from phimage.model.image_bytes import Quota
from tests.examples import author, image, key, membership, offer

Key = tuple[str, str]


def _records(chance: random.Random) -> tuple[Any, Any]:
    """A table, and a record of one of a few keys."""
    number = chance.randrange(3)
    return chance.choice(
        (
            (IMAGES, image(f"pimg-{number}", name=f"name {chance.randrange(3)}", deprecated=chance.random() < 0.5)),
            (IMAGES, image(f"pimg-c{number}", project=f"org-{number}", name=f"name {chance.randrange(3)}")),
            (OFFERS, offer(f"DB-{number}", cluster=chance.choice(("1G", "25G")), stock=chance.randrange(3))),
            (MEMBERSHIPS, membership("org-a", 50_000_001 + number, role=chance.choice(tuple(Role)))),
            (QUOTAS, Quota(ProjectId(chance.choice(("", "org-a"))), chance.randrange(3))),
        )
    )


@pytest.mark.parametrize("seed", range(3))
def test_every_revision_is_the_difference_of_two_copies_of_the_catalogue(catalog: Catalog, seed: int) -> None:
    chance = random.Random(seed)
    now: dict[Key, Any] = {}
    copies = [dict(now)]
    while len(copies) < 25:
        with catalog.change(author()) as change:
            for _ in range(chance.randrange(1, 6)):
                table, record = _records(chance)
                key = (table.table.name, "/".join(str(getattr(record, name)) for name in table.keys))
                if key in now and chance.random() < 0.3:
                    table.withdraw(change, now.pop(key))
                else:
                    table.put(change, record)
                    now[key] = record
        if change.records:
            copies.append(dict(now))

    with catalog.database.read() as connection:
        for number in range(1, len(copies)):
            before, after = copies[number - 1], copies[number]
            found = find_revision(connection, Revision(number))
            assert found is not None
            steps = steps_of(connection, Revision(number), offset=0, limit=1000)
            assert found[1] == len(steps)
            seen = {(step.change.noun, step.change.id): step for step in steps}
            assert seen.keys() >= {key for key in before | after if before.get(key) != after.get(key)}
            for key, step in seen.items():
                verb = step.change.verb
                assert step.before in (before.get(key), None)
                assert step.after in (after.get(key), None)
                if verb == "changed":
                    assert (step.before, step.after) == (before.get(key), after.get(key))
                if verb == "added":
                    assert step.after == after.get(key)
            pages = [steps_of(connection, Revision(number), offset=at, limit=1) for at in range(len(steps))]
            assert [step for page in pages for step in page] == steps
        assert find_revision(connection, Revision(len(copies))) is None


def test_an_image_that_moves_to_another_project_is_withdrawn_there_and_added_here(catalog: Catalog) -> None:
    here, there = image("pimg-a", project="org-a"), image("pimg-a", project="org-b")
    for record in (there, here):
        with catalog.change(author()) as change:
            IMAGES.put(change, replace(record, name="moved"))
    with catalog.database.read() as connection:
        gone, new = steps_of(connection, Revision(2), offset=0, limit=10)
    assert (gone.change.verb, gone.before, gone.after) == ("withdrawn", replace(there, name="moved"), None)
    assert (new.change.verb, new.before, new.after) == ("added", None, replace(here, name="moved"))


def test_a_key_with_a_slash_in_its_name_has_its_states_in_the_log(catalog: Catalog) -> None:
    record = key("a/b+c=")  # a name that its owner chose
    with catalog.change(author()) as change:
        KEYS.put(change, record)
    with catalog.database.read() as connection:
        (step,) = steps_of(connection, Revision(1), offset=0, limit=10)
    assert (step.before, step.after) == (None, record)
