"""The rules between the values of a file, and between a file and the catalogue: all that is broken is reported at once."""

from __future__ import annotations

import pytest

from phimage.catalog_file.check import CatalogState, check
from phimage.catalog_file.history import IdHistory
from phimage.catalog_file.read import read
from phimage.model.ids import ImageId, ZoneId
from phimage.model.image import Image, ImageType
from phimage.model.topology import Topology, topology
from tests.examples import cluster, image, machine_type, offer, region, zone

EMPTY = topology((), (), (), (), ())
CATALOGUE = topology(
    [region("cn-bj2", 1, default=True), region("cn-sh2", 2)],
    [zone("cn-bj2-02", "cn-bj2"), zone("cn-sh2-01", "cn-sh2")],
    [cluster("1G"), cluster("10G"), cluster("25G", default=True)],
    [machine_type("DB-2")],
    [offer("DB-2", "cn-bj2-02", "25G")],
)
PLACES = """\
phimage: 1
clusters:
  - {id: 1G}
  - {id: 10G}
  - {id: 25G, default: true}
regions:
  - id: cn-bj2
    number: 1
    name: {zh: 北京, en: Beijing}
    default: true
    zones:
      - {id: cn-bj2-02, name: {zh: B, en: B}}
machine_types:
  - id: DB-2
    name: {zh: DB, en: DB}
    disk_class: LocalDisk
    cpu: {model: Intel, frequency: 2.1, count: 2, cores: 32}
    memory: 64
    offers: {cn-bj2-02: {25G: 3}}
"""
IMAGE = """\
images:
  - id: pimg-cs-xev4rz
    name: CentOS
    family: centos-7
    os_type: CentOS
    os_name: CentOS
    size: 20
    created: 2020-12-15T03:20:00Z
    zones: [cn-bj2-02]
    support: {DB-2: [25G]}
"""


def errors(
    text: str,
    places: Topology = EMPTY,
    *,
    prune: bool = False,
    given: ImageType | None = None,
    custom: int = 0,
    spared: tuple[Image, ...] = (),
) -> list[tuple[int, str, str]]:
    past = IdHistory({ImageId("pimg-cs-xev4rz"): given} if given else {}, {}, {})
    around = CatalogState(places, {}, past, lambda zone: custom, spared)
    return [(error.line, error.field, error.message) for error in check(read(text), around, prune=prune)]


def changed(old: str, new: str) -> str:
    text = PLACES + IMAGE
    assert text.count(old) == 1
    return text.replace(old, new)


def test_a_whole_catalogue_has_no_errors() -> None:
    assert errors(PLACES + IMAGE) == []


def test_an_empty_catalogue_has_none_either() -> None:
    assert errors("phimage: 1") == []
    assert errors("phimage: 1", CATALOGUE) == []
    assert errors("phimage: 1", CATALOGUE, prune=True) == []


def test_unknown_names_are_reported_with_those_that_there_are() -> None:
    text = changed("zones: [cn-bj2-02]", "zones: [cn-bj2-02, cn-bj2-20]")
    text = text.replace("support: {DB-2: [25G]}", "support: {DB-2: [25G, 40G], BD-2: [1G]}")
    text = text.replace("offers: {cn-bj2-02: {25G: 3}}", "offers: {hk-02: {25G: 3}, cn-bj2-02: {100G: 1}}")

    assert errors(text) == [
        (19, "machine_types[0].offers.hk-02", "there is no zone hk-02: expected one of cn-bj2-02"),
        (
            19,
            "machine_types[0].offers.cn-bj2-02.100G",
            "there is no cluster 100G: expected one of 1G, 10G, 25G; did you mean 10G?",
        ),
        (28, "images[0].zones[1]", "there is no zone cn-bj2-20: expected one of cn-bj2-02; did you mean cn-bj2-02?"),
        (29, "images[0].support.DB-2[1]", "there is no cluster 40G: expected one of 1G, 10G, 25G; did you mean 10G?"),
        (29, "images[0].support.BD-2", "there is no machine type BD-2: expected one of DB-2; did you mean DB-2?"),
    ]


def test_an_unknown_name_is_compared_with_the_known_ones_once_however_often_the_file_has_it() -> None:
    text = changed("support: {DB-2: [25G]}", "support: {BD-2: [25G]}\n    successor: pimg-cs-gone") + "".join(
        f"  - {{id: pimg-x-{number:04}, name: x, os_type: x, os_name: x, size: 1, created: '2026-11-01T00:00:00Z',"
        " successor: pimg-cs-gone, support: {BD-2: [25G]}}\n"
        for number in range(3)
    )
    found = check(read(text), CatalogState(EMPTY, {}, IdHistory({}, {}, {}), lambda zone: 0), prune=False)
    assert len(found) == 8
    assert len({id(error.message) for error in found}) == 2, "equal messages are one object"


def test_an_id_that_is_too_long_is_reported_beside_an_unknown_name_and_is_no_suggestion() -> None:
    text = changed("zones: [cn-bj2-02]", "zones: [cn-bj2-20]").replace("id: 1G}", f"id: {'9' * 5000}}}")
    text = text.replace("{25G: 3}", "{26G: 3}")
    assert [(line, message[:50]) for line, _, message in errors(text)] == [
        (3, "expected a text of the form ^[A-Za-z0-9][A-Za-z0-9"),
        (19, "there is no cluster 26G: expected one of 10G, 25G;"),
        (28, "there is no zone cn-bj2-20: expected one of cn-bj2"),
    ]


def test_of_many_names_only_the_likely_one_is_reported() -> None:
    zones = "".join(f"      - {{id: hk-{number:02}, name: {{zh: z, en: z}}}}\n" for number in range(40))
    text = PLACES.replace("    zones:\n", "    zones:\n" + zones) + IMAGE

    assert errors(text.replace("[cn-bj2-02]", "[hk-021]"))[0][2] == "there is no zone hk-021: did you mean hk-21?"
    assert errors(text.replace("[cn-bj2-02]", "[moon]"))[0][2] == "there is no zone moon: none of the 41 known ones is similar"


def test_a_file_may_name_what_the_catalogue_has_unless_that_is_withdrawn() -> None:
    text = f"phimage: 1\n{IMAGE}"

    assert errors(text, CATALOGUE) == []
    assert [field for _, field, _ in errors(text, CATALOGUE, prune=True)] == [
        "images[0].zones[0]",
        "images[0].support.DB-2",
        "images[0].support.DB-2[0]",
    ]
    assert errors(text)[0][2] == "there is no zone cn-bj2-02: there is none yet"


def test_support_for_what_is_offered_nowhere_is_fine() -> None:
    assert errors(changed("support: {DB-2: [25G]}", "support: {DB-2: [1G, 10G, 25G]}")) == []


@pytest.mark.parametrize(
    ("old", "new", "reported"),
    [
        ("  - {id: 10G}\n", "  - {id: 1G}\n", (4, "clusters[1].id", "cluster 1G is given twice, first in line 3")),
        (
            "machine_types:\n",
            "      - {id: cn-bj2-02, name: {zh: B, en: B}}\nmachine_types:\n",
            (13, "regions[0].zones[1].id", "zone cn-bj2-02 is given twice, first in line 12 under region cn-bj2"),
        ),
        (
            "machine_types:\n",
            "  - {id: cn-bj2, number: 7, name: {zh: B, en: B}}\nmachine_types:\n",
            (13, "regions[1].id", "region cn-bj2 is given twice, first in line 7"),
        ),
        (
            "machine_types:\n",
            "  - {id: hk, number: 1, name: {zh: B, en: B}}\nmachine_types:\n",
            (13, "regions[1].number", "1 is the number of region cn-bj2"),
        ),
        (
            "machine_types:\n",
            "  - {id: hk, number: 2, name: {zh: B, en: B}, zones: [{id: cn-bj2-02, name: {zh: B, en: B}}]}\nmachine_types:\n",
            (13, "regions[1].zones[0].id", "zone cn-bj2-02 is given twice, first in line 12 under region cn-bj2"),
        ),
        ("[cn-bj2-02]", "[cn-bj2-02, cn-bj2-02]", (28, "images[0].zones[1]", "zone cn-bj2-02 is given twice")),
        ("[25G]", "[25G, 25G]", (29, "images[0].support.DB-2[1]", "cluster 25G is given twice")),
    ],
)
def test_a_repeated_id_is_reported(old: str, new: str, reported: tuple[int, str, str]) -> None:
    assert errors(changed(old, new)) == [reported]


def test_images_and_machine_types_given_twice_are_reported() -> None:
    text = PLACES + PLACES[PLACES.index("  - id: DB-2") :] + IMAGE + IMAGE.removeprefix("images:\n")

    assert [message for _, _, message in errors(text)] == [
        "machine type DB-2 is given twice, first in line 14",
        "image pimg-cs-xev4rz is given twice, first in line 27",
    ]


def test_a_region_number_of_a_region_that_stays_is_taken() -> None:
    text = "phimage: 1\nregions: [{id: hk, number: 2, name: {zh: 香港, en: Hong Kong}}]"

    assert errors(text, CATALOGUE) == [(2, "regions[0].number", "2 is the number of region cn-sh2")]


def test_two_regions_may_swap_their_numbers() -> None:
    names = "name: {zh: x, en: x}"
    text = f"phimage: 1\nregions: [{{id: cn-bj2, number: 2, {names}, default: true}}, {{id: cn-sh2, number: 1, {names}}}]"

    assert errors(text, CATALOGUE) == []


def test_there_is_a_default_cluster_and_a_default_region() -> None:
    text = PLACES.replace("    default: true\n", "").replace(", default: true", "")

    assert errors(text) == [
        (2, "clusters", "no cluster is the default; expected default: true in one of them"),
        (6, "regions", "no region is the default; expected default: true in one of them"),
    ]


def test_there_is_only_one_default() -> None:
    assert errors(changed("{id: 1G}", "{id: 1G, default: true}")) == [
        (3, "clusters[0].default", "more than one cluster is the default: 1G, 25G"),
        (5, "clusters[2].default", "more than one cluster is the default: 1G, 25G"),
    ]


def test_the_default_of_the_catalogue_counts_unless_the_file_names_its_thing() -> None:
    new = "phimage: 1\nclusters: [{id: 100G, default: true}]"

    assert errors(new, CATALOGUE) == [
        (2, "clusters[0].default", "more than one cluster is the default: 100G, 25G (in the catalogue)")
    ]
    assert errors(new, CATALOGUE, prune=True) == []
    assert errors("phimage: 1\nclusters: [{id: 100G, default: true}, {id: 25G}]", CATALOGUE) == []
    assert errors("phimage: 1\nclusters: [{id: 25G}]", CATALOGUE)[0][2].startswith("no cluster is the default")


def test_the_id_of_a_custom_image_is_never_used_again() -> None:
    reported = (21, "images[0].id", "this is or was the id of a custom image; choose another one")

    assert errors(PLACES + IMAGE, given=ImageType.CUSTOM) == [reported]
    assert errors(PLACES + IMAGE, given=ImageType.BASE) == []


@pytest.mark.parametrize(
    "date", ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z"]
)
def test_a_date_is_one_of_the_calendar(date: str) -> None:
    text = changed("2020-12-15T03:20:00Z", date)

    assert errors(text) == [(27, "images[0].created", f"expected a date from 1970 on; there is no {date}")]


def test_labels_are_few_and_have_short_plain_keys() -> None:
    labels = "{" + ", ".join(f"k{number}: x" for number in range(33)) + "}"

    assert errors(PLACES + IMAGE + "    labels: {team: storage, example.com/tier: Gold plated}") == []
    assert errors(PLACES + IMAGE + f"    labels: {labels}") == [
        (30, "images[0].labels", "expected at most 32 labels; found 33")
    ]
    (error,) = errors(PLACES + IMAGE + "    labels: {Team: storage}")
    assert error[1].startswith("images[0].labels.Team")
    assert "lower-case" in error[2]


def test_an_image_is_not_its_own_successor() -> None:
    reported = "an image cannot be its own successor: expected the id of another image"

    assert errors(PLACES + IMAGE + "    successor: pimg-cs-xev4rz") == [(30, "images[0].successor", reported)]


def test_a_zone_with_custom_images_is_not_withdrawn() -> None:
    reported = (6, "regions", "zone cn-sh2-01 cannot be withdrawn: 3 custom images are in it")

    assert errors(PLACES, CATALOGUE, prune=True, custom=3) == [reported]
    assert errors(PLACES, CATALOGUE, custom=3) == []


def test_a_zone_with_published_images_that_pruning_spares_is_not_withdrawn() -> None:
    spared = (image("pimg-cs-published", zones=("cn-sh2-01",)),)
    reported = "zone cn-sh2-01 cannot be withdrawn: "

    assert errors(PLACES, CATALOGUE, prune=True, spared=spared) == [(6, "regions", f"{reported}1 published image is in it")]
    assert errors(PLACES, CATALOGUE, prune=True, spared=spared, custom=2) == [
        (6, "regions", f"{reported}2 custom images and 1 published image are in it")
    ]
    assert errors(PLACES, CATALOGUE, spared=spared) == []


def test_a_zone_with_custom_images_does_not_move() -> None:
    text = PLACES.replace("id: cn-bj2-02, n", "id: cn-sh2-01, n")
    reported = (12, "regions[0].zones[0].id", "zone cn-sh2-01 cannot move from region cn-sh2: 1 custom image is in it")

    assert errors(text, CATALOGUE, custom=1) == [reported]
    assert errors(text, CATALOGUE) == []


def test_errors_of_reading_and_of_rules_are_reported_together() -> None:
    text = changed("size: 20", "size: big").replace("zones: [cn-bj2-02]", "zones: [moon]")

    assert [field for _, field, _ in errors(text)] == ["images[0].size", "images[0].zones[0]"]


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("regions:\n", "region:\n", "region"),
        ("    zones:\n", "    zone:\n", "regions[0].zone"),
        ("      - {id: cn-bj2-02, name: {zh: B, en: B}}\n", "      - cn-bj2-02\n", "regions[0].zones[0]"),
        ("- {id: cn-bj2-02,", "- {ids: cn-bj2-02,", "regions[0].zones[0].ids"),
        ("  - {id: 25G, default: true}\n", "  - [25G]\n", "clusters[2]"),
        ("  - {id: 25G, default: true}\n", "  - {id: 25G, default: sure}\n", "clusters[2].default"),
        ("  - id: DB-2\n", "  - id: [DB-2]\n", "machine_types[0].id"),
    ],
)
def test_what_could_not_be_read_is_not_reported_again_by_its_references(old: str, new: str, field: str) -> None:
    assert [named for _, named, _ in errors(changed(old, new))] == [field]


def test_an_id_of_the_wrong_form_can_still_be_referred_to() -> None:
    text = (PLACES + IMAGE).replace("cn-bj2-02", "cn bj2")

    assert [field for _, field, _ in errors(text)] == ["regions[0].zones[0].id"]


def test_a_wrong_value_elsewhere_in_a_section_hides_no_unknown_name() -> None:
    text = changed("number: 1\n", "number: one\n").replace("zones: [cn-bj2-02]", "zones: [moon]")

    assert [field for _, field, _ in errors(text)] == ["regions[0].number", "images[0].zones[0]"]


def test_custom_images_are_counted_only_where_it_matters() -> None:
    def counted(zone: ZoneId) -> int:
        raise AssertionError(zone)

    assert check(read(PLACES), CatalogState(CATALOGUE, {}, IdHistory({}, {}, {}), counted), prune=False) == ()
