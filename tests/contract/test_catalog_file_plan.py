"""A catalogue file against a catalogue: what it would change, and that carrying it out changes that and nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from phimage.catalog.images import IMAGES, images_at, once_given
from phimage.catalog.places import custom_images_in, topology_at
from phimage.catalog.revisions import Author, ChangeRecord, head, log
from phimage.catalog.views import Catalog
from phimage.catalog_file import starter
from phimage.catalog_file.difference import Difference, FieldChange
from phimage.catalog_file.errors import FileError
from phimage.catalog_file.export import export
from phimage.catalog_file.plan import KeptRecord, Plan, apply_plan, plan
from phimage.model.ids import ImageId, MachineTypeId, Revision, ZoneId
from phimage.model.image import ImageType
from tests.examples import image

FILE = """\
phimage: 1
clusters:
  - {id: 10G}
  - {id: 25G, default: true}
regions:
  - id: cn-bj2
    number: 1
    name: {zh: 北京, en: Beijing}
    default: true
    zones:
      - {id: cn-bj2-02, name: {zh: B, en: Zone B}}
      - {id: cn-bj2-05, name: {zh: E, en: Zone E}}
  - id: cn-sh2
    number: 2
    name: {zh: 上海, en: Shanghai}
    zones:
      - {id: cn-sh2-01, name: {zh: A, en: Zone A}}
machine_types:
  - id: DB-2
    name: {zh: 数据库型, en: Database}
    disk_class: LocalDisk
    cpu: {model: Intel, frequency: "2.1", count: 2, cores: 32}
    memory: 64
    disks:
      - {role: system, type: SAS, size: 1200, count: 2, raid: RAID1}
    offers:
      cn-bj2-02: {10G: 1, 25G: 3}
      cn-bj2-05: {25G: 0}
images:
  - id: pimg-cs-first
    name: CentOS 7.9
    family: centos-7
    os_type: CentOS
    os_name: CentOS 7.9 64位
    version: "7.9"
    size: 20
    created: "2020-12-15T03:20:00Z"
    zones: [cn-bj2-02, cn-bj2-05]
    support: {DB-2: [10G, 25G]}
  - id: pimg-cs-second
    name: CentOS 8.10
    family: centos-8
    os_type: CentOS
    os_name: CentOS 8.10 64位
    version: 8.10
    size: 20
    created: "2024-06-15T03:20:00Z"
    zones: [cn-bj2-02]
"""


def author() -> Author:
    return Author(actor="test", address="127.0.0.1", request_id="r", action="ApplyCatalog", time=1.0)


def planned(catalog: Catalog, text: str, *, prune: bool = False) -> Plan:
    with catalog.database.read() as connection:
        return plan(connection, head(connection), text, prune)


def apply(catalog: Catalog, text: str, *, prune: bool = False) -> Plan:
    with catalog.change(author()) as change:
        made = plan(change.connection, Revision(change.number - 1), text, prune)
        assert made.errors == ()
        apply_plan(change, made)
    return made


def exported(catalog: Catalog, revision: Revision | None = None) -> str:
    with catalog.database.read() as connection:
        at = head(connection) if revision is None else revision
        return export(topology_at(connection, at), images_at(connection, at))


def recorded(catalog: Catalog, revision: int) -> list[ChangeRecord]:
    with catalog.database.read() as connection:
        found = log(connection, after=Revision(revision - 1), before=Revision(revision + 1), limit=1, newest_first=False)
    return list(found[0].changes)


def capture(catalog: Catalog, id: str, *zones: str) -> None:
    """Make a custom image, as another Action would."""
    with catalog.change(author()) as change:
        IMAGES.put(change, image(id, project="org-a", zones=zones))


def changed(*edits: tuple[str, str]) -> str:
    text = FILE
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def without(text: str, beginning: str, end: str = "") -> str:
    """A text without the part from one beginning up to another one, or to the end."""
    start = text.index(beginning)
    return text[:start] + (text[text.index(end, start) :] if end else "")


def named(differences: tuple[Difference, ...]) -> list[str]:
    return [f"{one.verb} {one.noun} {one.id}" for one in differences]


def test_into_an_empty_catalogue_everything_is_added(catalog: Catalog) -> None:
    made = planned(catalog, FILE)

    assert made.errors == ()
    assert made.kept == ()
    assert named(made.differences) == [
        "added cluster 10G",
        "added cluster 25G",
        "added region cn-bj2",
        "added region cn-sh2",
        "added zone cn-bj2-02",
        "added zone cn-bj2-05",
        "added zone cn-sh2-01",
        "added machine_type DB-2",
        "added offer DB-2/cn-bj2-02/10G",
        "added offer DB-2/cn-bj2-02/25G",
        "added offer DB-2/cn-bj2-05/25G",
        "added image pimg-cs-first",
        "added image pimg-cs-second",
    ]
    assert [one.title for one in made.differences[-2:]] == ["CentOS 7.9", "CentOS 8.10"]
    assert all(one.fields == () for one in made.differences)


def test_planning_writes_nothing(catalog: Catalog) -> None:
    planned(catalog, FILE)

    assert catalog.refresh() == 0


def test_carrying_out_is_one_revision_that_records_each_thing_once(catalog: Catalog) -> None:
    made = apply(catalog, FILE)

    assert catalog.head == 1
    assert [f"{one.verb} {one.noun} {one.id}" for one in recorded(catalog, 1)] == named(made.differences)
    assert catalog.now(wait=True).base_images()[0].version == "8.10"


def test_carrying_out_again_changes_and_records_nothing(catalog: Catalog) -> None:
    apply(catalog, FILE)

    assert apply(catalog, FILE, prune=True) == Plan()
    assert catalog.refresh() == 1


def test_the_starter_catalogue_goes_in_and_comes_out(catalog: Catalog) -> None:
    apply(catalog, starter())
    text = exported(catalog)

    assert planned(catalog, text, prune=True) == Plan()
    assert planned(catalog, starter(), prune=True) == Plan()


def test_a_change_is_reported_field_by_field(catalog: Catalog) -> None:
    apply(catalog, FILE)
    text = changed(
        ("{id: 10G}", "{id: 10G, description: Traditional}"),
        ("en: Beijing}", "en: Peking}"),
        ("memory: 64", "memory: 128\n    gpu: {name: NVIDIA T4, count: 2}"),
        ("size: 1200, count: 2,", "size: 1200, count: 4,"),
        ("{10G: 1, 25G: 3}", "{10G: 1, 25G: 9}"),
        ("support: {DB-2: [10G, 25G]}", "support: {DB-2: [25G]}"),
        ("zones: [cn-bj2-02, cn-bj2-05]", "zones: [cn-bj2-05]\n    deprecated: true"),
        ("version: 8.10", "version: 8.10\n    state: Unavailable\n    support: {DB-2: [25G]}"),
    )

    made = apply(catalog, text)

    assert {f"{one.noun} {one.id}": one.fields for one in made.differences} == {
        "cluster 10G": (FieldChange("description", "", "Traditional"),),
        "region cn-bj2": (FieldChange("name.en", "Beijing", "Peking"),),
        "machine_type DB-2": (
            FieldChange("memory", "64", "128"),
            FieldChange("disks[0].count", "2", "4"),
            FieldChange("gpu.name", "", "NVIDIA T4"),
            FieldChange("gpu.count", "", "2"),
        ),
        "offer DB-2/cn-bj2-02/25G": (FieldChange("stock", "3", "9"),),
        "image pimg-cs-first": (
            FieldChange("deprecated", "false", "true"),
            FieldChange("zones", "[cn-bj2-02, cn-bj2-05]", "[cn-bj2-05]"),
            FieldChange("support.DB-2", "[10G, 25G]", "[25G]"),
        ),
        "image pimg-cs-second": (FieldChange("state", "Available", "Unavailable"), FieldChange("support.DB-2", "", "[25G]")),
    }
    assert {one.verb for one in made.differences} == {"changed"}
    assert [f"{one.verb} {one.noun} {one.id}" for one in recorded(catalog, 2)] == named(made.differences)
    assert planned(catalog, text, prune=True) == Plan()


def test_a_file_that_announces_a_deprecation_need_not_be_edited_when_it_takes_effect(catalog: Catalog) -> None:
    text = changed(("version: 8.10", "version: 8.10\n    deprecation_time: 2027-01-01T00:00:00Z\n    successor: pimg-cs-first"))
    apply(catalog, FILE)
    made = apply(catalog, text)
    assert [field.field for field in made.differences[0].fields] == ["deprecation_time", "successor"]

    with catalog.change(author()) as change:
        second = IMAGES.find(change.connection, "pimg-cs-second")
        assert second is not None
        IMAGES.put(change, replace(second, deprecated=True))

    assert planned(catalog, text) == Plan()
    other = text.replace("2027-01-01", "2028-01-01")
    assert [(field.field, field.new) for field in planned(catalog, other).differences[0].fields] == [
        ("deprecated", "false"),
        ("deprecation_time", "2028-01-01T00:00:00Z"),
    ]
    assert planned(catalog, exported(catalog), prune=True) == Plan()


def test_a_successor_may_be_withdrawn_and_must_have_existed(catalog: Catalog) -> None:
    apply(catalog, changed(("version: 8.10", "version: 8.10\n    successor: pimg-cs-first")))
    with catalog.change(author()) as change:
        first = IMAGES.find(change.connection, "pimg-cs-first")
        assert first is not None
        IMAGES.withdraw(change, first)

    text = exported(catalog)
    assert planned(catalog, text, prune=True) == Plan()
    (error,) = planned(catalog, text.replace("successor: pimg-cs-first", "successor: pimg-cs-frist")).errors
    assert error.message.startswith("there is no base image pimg-cs-frist: ")


def test_the_order_of_zones_and_clusters_is_no_difference(catalog: Catalog) -> None:
    apply(catalog, FILE)
    text = changed(("[cn-bj2-02, cn-bj2-05]", "[cn-bj2-05, cn-bj2-02]"), ("[10G, 25G]", "[25G, 10G]"))

    assert planned(catalog, text) == Plan()


def test_an_image_that_another_action_wrote_in_another_order_is_no_difference(catalog: Catalog) -> None:
    apply(catalog, FILE)
    with catalog.change(author()) as change:
        first = IMAGES.find(change.connection, "pimg-cs-first")
        assert first is not None
        support = {**first.support, MachineTypeId("DB-3"): ()}
        IMAGES.put(change, replace(first, zones=first.zones[::-1], support=support))

    assert planned(catalog, FILE) == Plan()


def test_a_record_that_the_file_does_not_define_is_kept_and_reported(catalog: Catalog) -> None:
    apply(catalog, FILE)

    made = planned(catalog, without(without(FILE, "  - id: pimg-cs-second"), "      - {id: cn-bj2-05", "  - id: cn-sh2"))

    assert made == Plan(kept=(KeptRecord("zone", "cn-bj2-05", "Zone E"), KeptRecord("image", "pimg-cs-second", "CentOS 8.10")))


def test_an_empty_file_keeps_everything(catalog: Catalog) -> None:
    apply(catalog, FILE)
    made = planned(catalog, "phimage: 1")

    assert made.differences == ()
    assert [one.id for one in made.kept] == [
        *("10G", "25G", "cn-bj2", "cn-sh2", "cn-bj2-02", "cn-bj2-05", "cn-sh2-01", "DB-2", "pimg-cs-first", "pimg-cs-second")
    ]


def test_pruning_withdraws_records_that_the_file_does_not_define(catalog: Catalog) -> None:
    apply(catalog, FILE)
    before = exported(catalog)
    text = without(FILE, "  - id: pimg-cs-second")
    text = without(text, "  - id: cn-sh2", "machine_types")
    text = without(text, "      - {id: cn-bj2-05", "machine_types").replace("      cn-bj2-05: {25G: 0}\n", "")
    text = text.replace("[cn-bj2-02, cn-bj2-05]", "[cn-bj2-02]")

    made = apply(catalog, text, prune=True)

    assert made.kept == ()
    assert named(made.differences) == [
        "withdrawn region cn-sh2",
        "withdrawn zone cn-bj2-05",
        "withdrawn zone cn-sh2-01",
        "withdrawn offer DB-2/cn-bj2-05/25G",
        "changed image pimg-cs-first",
        "withdrawn image pimg-cs-second",
    ]
    assert [one.id for one in catalog.now(wait=True).base_images()] == ["pimg-cs-first"]
    assert list(catalog.now(wait=True).topology().zones) == ["cn-bj2-02"]
    assert exported(catalog, Revision(1)) == before


def test_pruning_with_an_empty_file_leaves_nothing(catalog: Catalog) -> None:
    apply(catalog, FILE)
    apply(catalog, "phimage: 1", prune=True)

    assert catalog.now(wait=True).base_images() == ()
    assert exported(catalog).endswith("\n\nphimage: 1\n")


def test_a_machine_type_of_the_file_has_exactly_the_offers_of_the_file(catalog: Catalog) -> None:
    apply(catalog, FILE)

    made = apply(catalog, changed(("{10G: 1, 25G: 3}", "{25G: 3}"), ("cn-bj2-05: {25G: 0}", "cn-sh2-01: {25G: 7}")))

    assert named(made.differences) == [
        "withdrawn offer DB-2/cn-bj2-02/10G",
        "withdrawn offer DB-2/cn-bj2-05/25G",
        "added offer DB-2/cn-sh2-01/25G",
    ]
    assert [offer.zone for offer in catalog.now(wait=True).topology().offers] == ["cn-bj2-02", "cn-sh2-01"]


def test_offers_of_a_machine_type_that_is_kept_stay(catalog: Catalog) -> None:
    apply(catalog, FILE)
    apply(catalog, without(FILE, "machine_types:", "images:"))

    assert len(catalog.now(wait=True).topology().offers) == 3


def test_a_zone_moves_to_another_region(catalog: Catalog) -> None:
    apply(catalog, FILE)
    line = "      - {id: cn-bj2-05, name: {zh: E, en: Zone E}}\n"
    made = apply(catalog, FILE.replace(line, "").replace("machine_types:\n", line + "machine_types:\n"))

    assert named(made.differences) == ["changed zone cn-bj2-05"]
    assert made.differences[0].fields == (FieldChange("region", "cn-bj2", "cn-sh2"),)
    assert catalog.now(wait=True).topology().zones[ZoneId("cn-bj2-05")].region == "cn-sh2"


def test_where_there_are_errors_there_are_no_differences(catalog: Catalog) -> None:
    made = planned(catalog, changed(("zones: [cn-bj2-02]\n", "zones: [cn-bj2-99]\n"), ("version: 8.10", "size: 1")))

    assert made.differences == ()
    assert made.kept == ()
    assert [(one.line, one.field) for one in made.errors] == [(46, "images[1].size"), (48, "images[1].zones[0]")]


def test_text_that_is_no_catalogue_is_only_errors(catalog: Catalog) -> None:
    assert planned(catalog, "[").errors[0].message.startswith("this is not YAML")


def test_a_plan_with_errors_is_never_carried_out(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="errors"), catalog.change(author()) as change:
        apply_plan(change, Plan(errors=(FileError(1, 1, "", "wrong"),)))

    assert catalog.refresh() == 0


def test_custom_images_are_never_seen_and_never_touched(catalog: Catalog) -> None:
    apply(catalog, FILE)
    capture(catalog, "pimg-cs-mine", "cn-bj2-02")

    assert planned(catalog, FILE, prune=True) == Plan()
    assert "pimg-cs-mine" not in exported(catalog)
    assert planned(catalog, without(FILE, "images:"), prune=True).errors == ()
    assert all(one.id != "pimg-cs-mine" for one in planned(catalog, without(FILE, "images:"), prune=True).differences)


def test_the_id_of_a_custom_image_cannot_be_published(catalog: Catalog) -> None:
    capture(catalog, "pimg-cs-second", "cn-bj2-02")

    assert [(one.line, one.field, one.message) for one in planned(catalog, FILE).errors] == [
        (40, "images[1].id", "this is or was the id of a custom image; choose another one")
    ]


def test_a_machine_type_that_was_withdrawn_can_come_back(catalog: Catalog) -> None:
    apply(catalog, FILE)
    bare = without(without(FILE, "images:"), "machine_types:")
    apply(catalog, bare + "images: []", prune=True)
    apply(catalog, without(FILE, "images:"))

    assert list(catalog.now(wait=True).topology().machine_types) == ["DB-2"]


def test_a_zone_with_custom_images_is_neither_withdrawn_nor_moved(catalog: Catalog) -> None:
    apply(catalog, FILE)
    capture(catalog, "pimg-cs-mine", "cn-bj2-05", "cn-sh2-01")
    capture(catalog, "pimg-cs-yours", "cn-sh2-01")
    line = "      - {id: cn-bj2-05, name: {zh: E, en: Zone E}}\n"
    moved = FILE.replace(line, "").replace("machine_types:\n", line + "machine_types:\n")

    pruned = planned(catalog, without(FILE, "  - id: cn-sh2", "machine_types"), prune=True)

    assert [one.message for one in pruned.errors] == ["zone cn-sh2-01 cannot be withdrawn: 2 custom images are in it"]
    assert [(one.line, one.message) for one in planned(catalog, moved).errors] == [
        (17, "zone cn-bj2-05 cannot move from region cn-bj2: 1 custom image is in it")
    ]


def test_custom_images_in_a_zone_are_those_that_are_there_now(catalog: Catalog) -> None:
    apply(catalog, FILE)
    capture(catalog, "pimg-cs-mine", "cn-bj2-02")
    capture(catalog, "pimg-cs-moved", "cn-bj2-02")
    capture(catalog, "pimg-cs-moved", "cn-bj2-05")
    capture(catalog, "pimg-cs-other", "CN-BJ2-02", "cn-bj2_02", "cn-bj2-020")
    with catalog.database.read() as connection:
        counts = [custom_images_in(connection, ZoneId(zone)) for zone in ("cn-bj2-02", "cn-bj2-05", "cn_bj2_02", "%", "cn")]

    assert counts == [1, 1, 0, 0, 0]


def test_ids_once_given_are_found_among_very_many(catalog: Catalog) -> None:
    apply(catalog, FILE)
    capture(catalog, "pimg-cs-mine", "cn-bj2-02")
    asked = [ImageId(f"pimg-cs-no{number:05}") for number in range(2000)]
    with catalog.database.read() as connection:
        found = once_given(connection, [*asked, ImageId("pimg-cs-mine"), ImageId("pimg-cs-first")])

    assert found == {"pimg-cs-mine": ImageType.CUSTOM, "pimg-cs-first": ImageType.BASE}
