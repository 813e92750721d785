"""Which images belong to the catalogue file: pruning takes those and spares the others, and a withdrawn id comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from phimage.catalog.image_bytes import IMAGE_BYTES, QUOTAS, withdraw_image_bytes
from phimage.catalog.images import IMAGES, images_of_file
from phimage.catalog.revisions import Author, head, log
from phimage.catalog.views import Catalog
from phimage.catalog_file.difference import FieldChange
from phimage.catalog_file.history import IsStored, nothing_stored, restorable_manifests
from phimage.catalog_file.plan import Plan, apply_plan, plan
from phimage.catalog_file.read import read
from phimage.chunks.memory import MemoryStore
from phimage.errors import QuotaExceeded
from phimage.model.ids import ImageId, ManifestDigest, Revision
from phimage.model.image import NO_PROJECT, State
from phimage.model.image_bytes import ImageBytes, Quota
from tests.conftest import sqlite_first
from tests.contract.test_catalog_file_sources import FILE, FIRST, exported
from tests.publishing.shop import Shop, disk, image

dialect = sqlite_first

PLACES = FILE[: FILE.index("images:")]
SIZED = FILE.replace("size: 0", "size: 20")
PUBLISHED = image(7).id
OTHER = f"sha256:{'1' * 64}"


def author(action: str = "ApplyCatalog") -> Author:
    return Author("operator/main key", "127.0.0.1", "request", action, 1.0)


def apply(catalog: Catalog, text: str, *, prune: bool = False, stored: IsStored = nothing_stored) -> Plan:
    with catalog.change(author()) as change:
        made = plan(change.connection, change.parent, text, prune, stored)
        assert made.errors == ()
        apply_plan(change, made)
    return made


def planned(catalog: Catalog, text: str, *, prune: bool = False, stored: IsStored = nothing_stored) -> Plan:
    with catalog.database.read() as connection:
        return plan(connection, head(connection), text, prune, stored)


def verbs(made: Plan) -> list[str]:
    return [f"{one.verb} {one.noun} {one.id}" for one in made.differences]


def ids(catalog: Catalog) -> set[str]:
    return {found.id for found in catalog.now(wait=True).base_images()}


def publish(catalog: Catalog, number: int = 7) -> None:
    with catalog.change(author("PublishPHostImage")) as change:
        IMAGES.put(change, image(number))


def withdraw(catalog: Catalog, id: ImageId = FIRST) -> None:
    with catalog.change(author("WithdrawPHostImage")) as change:
        withdraw_image_bytes(change, [id], "the image was withdrawn")
        found = IMAGES.find(change.connection, id)
        assert found is not None
        IMAGES.withdraw(change, found)


def bytes_of(**more: object) -> ImageBytes:
    """The bytes of the file's image, uploaded."""
    known = ImageBytes(FIRST, NO_PROJECT, manifest=ManifestDigest("a" * 64), sha256="b" * 64, size=3 << 30, source_digest=OTHER)
    return replace(known, **more)


def give_bytes(catalog: Catalog, content: ImageBytes) -> None:
    with catalog.change(author("PublishPHostImage")) as change:
        IMAGE_BYTES.put(change, content)
        found = IMAGES.find(change.connection, FIRST)
        assert found is not None
        IMAGES.put(change, replace(found, state=content.target_state))


def content_of(catalog: Catalog, id: ImageId = FIRST) -> ImageBytes | None:
    return catalog.now(wait=True).image_bytes_of(NO_PROJECT).get(id)


# whose an image is


def test_pruning_spares_published_images_and_takes_those_of_the_file(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    publish(catalog)

    made = apply(catalog, PLACES, prune=True)

    assert verbs(made) == [f"withdrawn image {FIRST}"]
    assert [one.id for one in made.spared] == [PUBLISHED]
    assert ids(catalog) == {PUBLISHED}


def test_without_pruning_published_images_are_distinguished_from_those_that_pruning_withdraws(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    publish(catalog)

    made = planned(catalog, PLACES)

    assert ([one.id for one in made.kept], [one.id for one in made.spared]) == ([FIRST], [PUBLISHED])


def test_a_published_image_is_the_files_once_an_applied_file_names_it(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    publish(catalog)
    everything = exported(catalog)

    assert [one.id for one in planned(catalog, everything).adopted] == [PUBLISHED], "planning adopts nothing"
    assert [one.id for one in planned(catalog, PLACES, prune=True).spared] == [PUBLISHED]
    made = apply(catalog, everything)
    assert (verbs(made), [one.id for one in made.adopted]) == ([], [PUBLISHED])

    again = apply(catalog, everything)
    assert again == Plan()
    assert verbs(planned(catalog, PLACES, prune=True)) == [f"withdrawn image {FIRST}", f"withdrawn image {PUBLISHED}"]


def test_the_log_has_when_the_file_took_an_image_over_and_no_tenant_sees_a_change(catalog: Catalog) -> None:
    apply(catalog, PLACES)
    publish(catalog)
    before = catalog.now(wait=True).base_images()

    apply(catalog, exported(catalog))

    with catalog.database.read() as connection:
        (revision,) = log(connection, after=Revision(2), limit=9, newest_first=False)
        assert log(connection, after=Revision(2), limit=9, newest_first=False, scopes=("base",)) == []
    assert [(one.verb, one.noun, one.id) for one in revision.changes] == [("adopted", "image", PUBLISHED)]
    assert catalog.now(wait=True).base_images() is before, "what was remembered of the base images is still good"


def test_a_published_image_that_a_file_of_before_changed_is_the_files(catalog: Catalog) -> None:
    publish(catalog)
    with catalog.change(author()) as change:
        IMAGES.put(change, replace(image(7), description="changed by an applied file, with a program that knew no adoption"))
    with catalog.database.read() as connection:
        assert images_of_file(connection) == {PUBLISHED}


def test_what_pruning_withdrew_before_was_not_the_files_for_that(catalog: Catalog) -> None:
    publish(catalog)
    with catalog.change(author()) as change:
        IMAGES.withdraw(change, image(7))
    with catalog.database.read() as connection:
        assert images_of_file(connection) == frozenset()


def test_custom_images_are_nobodys_but_their_projects(catalog: Catalog) -> None:
    with catalog.change(author()) as change:
        IMAGES.put(change, replace(image(8), type=image(8, project="org-a").type, project="org-a"))  # type: ignore[arg-type]
    with catalog.database.read() as connection:
        assert images_of_file(connection) == frozenset()


# a withdrawn id that a file names again


def test_a_withdrawn_image_is_restored_with_its_bytes_when_the_store_has_them(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    give_bytes(catalog, bytes_of())
    older = exported(catalog)
    image_before, content_before = catalog.now(wait=True).base_images(), content_of(catalog)
    withdraw(catalog)

    made = apply(catalog, older, stored=lambda digest: digest == "a" * 64)

    (back,) = made.differences
    assert (back.verb, back.noun, back.id, back.title) == ("restored", "image", FIRST, "Debian 12")
    assert back.fields == (FieldChange("bytes", "in the store", "restored"),)
    assert (catalog.now(wait=True).base_images(), content_of(catalog)) == (image_before, content_before)
    assert apply(catalog, older) == Plan()


def test_a_withdrawn_image_is_restored_without_bytes_when_they_were_collected(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    give_bytes(catalog, bytes_of())
    older = exported(catalog)
    withdraw(catalog)

    (back,) = apply(catalog, older).differences

    assert back.fields == (FieldChange("bytes", "collected", "none"),)
    assert content_of(catalog) is None
    assert ids(catalog) == {FIRST}


def test_the_plan_has_the_changes_of_a_restored_image(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    withdraw(catalog)

    (back,) = planned(catalog, SIZED.replace(" name: Debian 12\n", " name: Debian twelve\n")).differences

    assert back.fields == (FieldChange("name", "Debian 12", "Debian twelve"),)


def with_source(sha256: str) -> str:
    return f"{FILE}    source: https://images.example/disk.raw\n    sha256: {sha256}\n"


def test_collected_bytes_come_from_the_source_again(catalog: Catalog) -> None:
    apply(catalog, with_source("1" * 64))
    give_bytes(catalog, bytes_of(source="https://images.example/disk.raw"))
    withdraw(catalog)

    made = apply(catalog, with_source("1" * 64))

    assert verbs(made) == [f"restored image {FIRST}", f"added source {FIRST}"]
    assert made.differences[0].fields == (FieldChange("bytes", "collected", "from its source"),)
    (found,) = catalog.now(wait=True).base_images()
    assert found.state is State.MAKING


def test_bytes_that_are_still_there_are_not_fetched_again(catalog: Catalog) -> None:
    apply(catalog, with_source("1" * 64))
    give_bytes(catalog, bytes_of(source="https://images.example/disk.raw"))
    withdraw(catalog)

    made = apply(catalog, with_source("1" * 64), stored=lambda digest: True)

    assert verbs(made) == [f"restored image {FIRST}"]
    (found,) = catalog.now(wait=True).base_images()
    assert (found.state, found.size) == (State.AVAILABLE, 3), "the size is that of its disk"


@pytest.mark.parametrize("meanwhile", ["withdrawn", "back without bytes"])
def test_an_id_never_gets_other_bytes_than_it_had(meanwhile: str, catalog: Catalog) -> None:
    apply(catalog, SIZED)
    give_bytes(catalog, bytes_of())
    withdraw(catalog)
    if meanwhile == "back without bytes":
        apply(catalog, SIZED)

    reported = [one.message for one in planned(catalog, with_source("2" * 64)).errors]

    assert reported == ["this id had other bytes, and ids are never reused: publish these under a new id"]
    assert planned(catalog, with_source("1" * 64)).errors == ()


def test_bytes_that_come_back_need_room_in_the_quota(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    give_bytes(catalog, bytes_of())
    withdraw(catalog)
    with catalog.change(author("SetQuota")) as change:
        QUOTAS.put(change, Quota(NO_PROJECT, 2 << 30))

    with pytest.raises(QuotaExceeded, match="1073741824 bytes more are needed"):
        apply(catalog, SIZED, stored=lambda digest: True)

    assert ids(catalog) == set()


def test_the_restorable_manifests_images_are_those_of_withdrawn_ones_that_the_file_names(catalog: Catalog) -> None:
    apply(catalog, SIZED)
    give_bytes(catalog, bytes_of())
    with catalog.database.read() as connection:
        assert restorable_manifests(connection, read(SIZED).document) == [], "it is not withdrawn"
    withdraw(catalog)
    with catalog.database.read() as connection:
        assert restorable_manifests(connection, read(SIZED).document) == ["a" * 64]
        assert restorable_manifests(connection, read(PLACES).document) == []
        assert restorable_manifests(connection, None) == []


def test_a_restored_image_has_the_same_bytes(catalog: Catalog, tmp_path: Path) -> None:
    shop = Shop(catalog, MemoryStore(), tmp_path / "work")
    apply(catalog, PLACES)
    original = disk(tmp_path)
    job = shop.begin(original)
    assert shop.work_once().error == ""
    older = exported(catalog)
    withdraw(catalog, job.image)

    made = apply(catalog, older, stored=lambda digest: True)

    assert verbs(made) == [f"restored image {job.image}"]
    assert shop.bytes_of(job.image) == original.read_bytes()
