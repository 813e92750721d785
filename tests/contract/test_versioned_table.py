"""Records become rows that hold from one revision to another, and come back exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from phimage.catalog import tables
from phimage.catalog.accounts import (
    ACCOUNTS,
    FIRST_USER,
    KEYS,
    MEMBERSHIPS,
    PROJECTS,
    USERS,
    add_project,
    find_key,
    keys_of,
    next_user,
    remove_project,
)
from phimage.catalog.images import IMAGES, images_at, once_given
from phimage.catalog.lookup import find_tenant
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES, topology_at
from phimage.catalog.revisions import BASE, TOPOLOGY, ChangeRecord, account_scope, log, project_scope
from phimage.catalog.versioned_table import VersionedTable
from phimage.catalog.views import Catalog
from phimage.errors import ServiceUnavailable
from phimage.model.account import Project, Role
from phimage.model.ids import AccountId, ImageId, ProjectId, PublicKey, Revision
from phimage.model.image import NO_PROJECT, State
from phimage.model.topology import Gpu
from tests.conftest import NewCatalog
from tests.examples import (
    account,
    author,
    cluster,
    image,
    key,
    machine_type,
    membership,
    offer,
    project,
    region,
    user,
    zone,
)
from tests.torture.length import examples

NASTY = "镜像 \U0001f600 'quote\" \\ %s :x \n\t {}"

EXAMPLES: list[tuple[VersionedTable[Any], tuple[Any, ...], str]] = [
    (REGIONS, (region(), region(number=7), region(default=True)), TOPOLOGY),
    (ZONES, (zone(), zone(of="hk")), TOPOLOGY),
    (CLUSTERS, (cluster(), cluster(default=True)), TOPOLOGY),
    (MACHINE_TYPES, (machine_type(), machine_type(gpu=Gpu("A100", 8, "80GB", "312 TFLOPS")), machine_type(memory=1)), TOPOLOGY),
    (OFFERS, (offer(), offer(stock=0)), TOPOLOGY),
    (
        ACCOUNTS,
        (account(), account(zones=("hk-01", "hk-02"), networks=("2001:db8::/32",)), account(operator=True)),
        "account:acme",
    ),
    (USERS, (user(), user(main=True), user(name=NASTY)), "account:acme"),
    (KEYS, (key(), key(encrypted=bytes(range(256)))), "account:acme"),
    (PROJECTS, (project(), project(default=True)), "account:acme"),
    (MEMBERSHIPS, (membership(), membership(role=Role.EDITOR)), "account:acme"),
    (
        IMAGES,
        (
            image(),
            image(name=NASTY, state=State.MAKING, deprecated=True, created=2**40),
            image(zones=(), support={}),
            image(support={"b": ("25G", "10G"), "a": (), NASTY: ("1G",)}),
        ),
        BASE,
    ),
    (IMAGES, (image(project="org-a"), image(project="org-a", zones=("hk-01", "cn-bj2-02"))), project_scope("org-a")),
]
each_kind = pytest.mark.parametrize(("facts", "records", "scope"), EXAMPLES, ids=[facts.table.name for facts, _, _ in EXAMPLES])


def put(catalog: Catalog, facts: VersionedTable[Any], *records: Any) -> Revision:
    with catalog.change(author()) as change:
        for record in records:
            facts.put(change, record)
    return catalog.head


def withdraw(catalog: Catalog, facts: VersionedTable[Any], record: Any) -> Revision:
    with catalog.change(author()) as change:
        facts.withdraw(change, record)
    return catalog.head


def at(catalog: Catalog, facts: VersionedTable[Any], revision: int) -> list[Any]:
    with catalog.database.read() as connection:
        return facts.at(connection, Revision(revision))


def live(catalog: Catalog, facts: VersionedTable[Any]) -> list[Any]:
    with catalog.database.read() as connection:
        return facts.live(connection)


def changes(catalog: Catalog, revision: Revision) -> tuple[ChangeRecord, ...]:
    with catalog.database.read() as connection:
        (found,) = log(connection, after=Revision(revision - 1), before=Revision(revision + 1), limit=10, newest_first=False)
    return found.changes


@each_kind
def test_a_record_comes_back_as_it_was_put(
    catalog: Catalog, facts: VersionedTable[Any], records: Sequence[Any], scope: str
) -> None:
    for record in records:
        put(catalog, facts, record)
        assert live(catalog, facts) == [record]
        assert msgspec.to_builtins(live(catalog, facts)) == msgspec.to_builtins([record])


@each_kind
def test_every_revision_reads_exactly_as_it_was(
    catalog: Catalog, facts: VersionedTable[Any], records: Sequence[Any], scope: str
) -> None:
    numbers = [put(catalog, facts, record) for record in records]
    withdrawn = withdraw(catalog, facts, records[-1])
    again = put(catalog, facts, records[0])

    assert at(catalog, facts, 0) == []
    assert [at(catalog, facts, number) for number in numbers] == [[record] for record in records]
    assert at(catalog, facts, withdrawn) == []
    assert at(catalog, facts, again) == [records[0]] == live(catalog, facts)


@each_kind
def test_each_change_says_what_it_touched_and_for_whom(
    catalog: Catalog, facts: VersionedTable[Any], records: Sequence[Any], scope: str
) -> None:
    added, changed = put(catalog, facts, records[0]), put(catalog, facts, records[1])
    withdrawn = withdraw(catalog, facts, records[1])

    (first,) = changes(catalog, added)
    assert (first.noun, first.scope, first.verb) == (facts.table.name, scope, "added")
    assert changes(catalog, changed) == (ChangeRecord(first.noun, first.id, scope, "changed"),)
    assert changes(catalog, withdrawn) == (ChangeRecord(first.noun, first.id, scope, "withdrawn"),)


@each_kind
def test_putting_what_already_holds_changes_nothing(
    catalog: Catalog, facts: VersionedTable[Any], records: Sequence[Any], scope: str
) -> None:
    for record in records:
        before = put(catalog, facts, record)
        with catalog.change(author()) as change:
            assert not facts.put(change, record)
        assert catalog.head == before


def test_putting_says_whether_it_changed_anything(catalog: Catalog) -> None:
    with catalog.change(author()) as change:
        assert IMAGES.put(change, image())
        assert not IMAGES.put(change, image())
        assert IMAGES.put(change, image(name="other"))


def test_the_id_of_a_thing_with_several_keys_has_all_of_them(catalog: Catalog) -> None:
    number = put(catalog, OFFERS, offer("DB-2", "hk-01", "10G"))
    assert changes(catalog, number)[0].id == "DB-2/hk-01/10G"


def test_what_one_revision_makes_and_changes_leaves_one_row(catalog: Catalog) -> None:
    number = put(catalog, IMAGES, image(name="draft"), image(name="final"))

    assert at(catalog, IMAGES, number) == [image(name="final")]
    assert rows(catalog) == 1


def test_what_one_revision_makes_and_withdraws_was_never_there(catalog: Catalog) -> None:
    with catalog.change(author()) as change:
        IMAGES.put(change, image())
        IMAGES.withdraw(change, image())

    assert at(catalog, IMAGES, catalog.head) == []
    assert rows(catalog) == 0


def test_a_revision_may_change_a_thing_twice_and_back_again(catalog: Catalog) -> None:
    first = put(catalog, IMAGES, image(name="one"))
    second = put(catalog, IMAGES, image(name="two"), image(name="three"), image(name="one"))
    with catalog.change(author()) as change:
        IMAGES.withdraw(change, image(name="one"))
        IMAGES.put(change, image(name="four"))

    assert [at(catalog, IMAGES, number) for number in (first, second, catalog.head)] == [
        [image(name="one")],
        [image(name="one")],
        [image(name="four")],
    ]


def test_many_new_records_can_be_added_at_once(catalog: Catalog) -> None:
    images = [image(f"pimg-{n}") for n in range(300)]
    with catalog.change(author()) as change:
        IMAGES.add_all(change, images)
        IMAGES.add_all(change, [])

    assert sorted(live(catalog, IMAGES), key=lambda found: found.id) == sorted(images, key=lambda found: found.id)
    assert [record.verb for record in changes(catalog, catalog.head)] == ["added"] * 300


def test_adding_what_is_already_there_is_refused_and_changes_nothing(catalog: Catalog) -> None:
    put(catalog, IMAGES, image("pimg-b"))
    with pytest.raises(ServiceUnavailable), catalog.change(author()) as change:
        IMAGES.add_all(change, [image("pimg-a"), image("pimg-b", name="other")])

    assert catalog.head == 1
    assert live(catalog, IMAGES) == [image("pimg-b")]


def test_only_the_row_of_the_same_key_ends(catalog: Catalog) -> None:
    put(catalog, OFFERS, offer("DB-2", "hk-01", "25G"), offer("DB-2", "hk-01", "10G"), offer("DB-2", "hk-02", "25G"))
    withdraw(catalog, OFFERS, offer("DB-2", "hk-01", "25G"))

    found = {(found.zone, found.cluster) for found in live(catalog, OFFERS)}
    assert found == {("hk-01", "10G"), ("hk-02", "25G")}


def test_a_record_that_moves_between_scopes_leaves_one_and_comes_into_the_other(catalog: Catalog) -> None:
    put(catalog, IMAGES, image(project="org-a"))
    number = put(catalog, IMAGES, image(project="org-b"))

    assert changes(catalog, number) == (
        ChangeRecord("image", "pimg-a", project_scope("org-a"), "withdrawn"),
        ChangeRecord("image", "pimg-a", project_scope("org-b"), "added"),
    )


def test_a_key_that_no_database_can_hold_is_not_found(catalog: Catalog) -> None:
    with catalog.database.read() as connection:
        assert find_key(connection, PublicKey("nul\0")) is None
        assert find_key(connection, PublicKey("\0")) is None
        assert find_key(connection, PublicKey("x" * 60_000)) is None
        assert find_key(connection, PublicKey("' OR 1=1 --")) is None


@pytest.mark.parametrize("text", ["a", "A", "a ", "ａ", "é", "e\u0301"])
def test_keys_are_compared_exactly(catalog: Catalog, text: str) -> None:
    put(catalog, IMAGES, image("a"), image("A"), image("a "), image("ａ"), image("é"), image("e\u0301"))

    with catalog.database.read() as connection:
        found = IMAGES.find(connection, text)
    assert found is not None
    assert found.id == text


# queries of the nouns


def test_images_are_read_by_their_owner_in_the_order_of_lists(catalog: Catalog) -> None:
    first = put(
        catalog,
        IMAGES,
        image("pimg-1", created=1),
        image("pimg-2", created=2),
        image("pimg-3", project="org-a"),
        image("pimg-4", project="org-b"),
    )
    put(catalog, IMAGES, image("pimg-5", created=3))

    def ids(revision: Revision, owner: str = NO_PROJECT) -> list[str]:
        with catalog.database.read() as connection:
            return [found.id for found in images_at(connection, revision, ProjectId(owner))]

    assert ids(first) == ["pimg-2", "pimg-1"]
    assert ids(catalog.head) == ["pimg-5", "pimg-2", "pimg-1"]
    assert ids(catalog.head, "org-a") == ["pimg-3"]
    assert ids(catalog.head, "org-none") == []


def test_an_id_that_was_ever_given_is_known_for_ever(catalog: Catalog) -> None:
    put(catalog, IMAGES, image("pimg-a"))
    withdraw(catalog, IMAGES, image("pimg-a"))

    with catalog.database.read() as connection:
        assert ImageId("pimg-a") in once_given(connection, {ImageId("pimg-a")})
        assert ImageId("pimg-b") not in once_given(connection, {ImageId("pimg-b")})


def test_the_topology_of_a_revision_is_that_of_then(catalog: Catalog) -> None:
    with catalog.change(author()) as change:
        REGIONS.put(change, region())
        ZONES.put(change, zone())
        CLUSTERS.put(change, cluster(default=True))
        MACHINE_TYPES.put(change, machine_type())
        OFFERS.put(change, offer())
    then = catalog.head
    withdraw(catalog, OFFERS, offer())

    with catalog.database.read() as connection:
        assert topology_at(connection, then).offers == (offer(),)
        assert topology_at(connection, catalog.head).offers == ()
        assert list(topology_at(connection, catalog.head).zones) == ["cn-bj2-02"]
        assert list(topology_at(connection, Revision(0)).regions) == []


def test_a_household_is_an_account_with_its_own_things_and_nobody_elses(catalog: Catalog) -> None:
    main, sub = user(1, main=True), user(2)
    with catalog.change(author()) as change:
        for of in ("acme", "other"):
            ACCOUNTS.put(change, account(of))
        for member in (sub, main, user(3, "other", main=True)):
            USERS.put(change, member)
        for owned in (project("org-b"), project("org-a", default=True), project("org-x", "other", default=True)):
            PROJECTS.put(change, owned)
        MEMBERSHIPS.put(change, membership("org-b", 2))
        MEMBERSHIPS.put(change, membership("org-x", 3, "other"))

    with catalog.database.read() as connection:
        found = find_tenant(connection, AccountId("acme"))
        assert find_tenant(connection, AccountId("nobody")) is None
    assert found is not None
    assert found.account == account("acme")
    assert list(found.users.values()) == [main, sub]
    assert list(found.projects) == ["org-a", "org-b"]
    assert found.roles == {("org-b", 2): Role.VIEWER}


def test_keys_of_an_account_are_listed_oldest_first_and_a_revoked_one_is_gone(catalog: Catalog) -> None:
    keys = [msgspec.structs.replace(key(id), created=created) for id, created in (("k3", 5), ("k1", 9), ("k2", 5))]
    put(catalog, KEYS, *keys, key("foreign", of="other"))
    withdraw(catalog, KEYS, keys[2])

    with catalog.database.read() as connection:
        assert [found.id for found in keys_of(connection, AccountId("acme"))] == ["k3", "k1"]
        assert find_key(connection, PublicKey("k2")) is None
        assert find_key(connection, PublicKey("k1")) == keys[1]


def test_user_ids_count_up_and_are_never_used_again(catalog: Catalog) -> None:
    def following() -> int:
        with catalog.database.read() as connection:
            return next_user(connection)

    assert following() == FIRST_USER
    put(catalog, USERS, user(FIRST_USER))
    assert following() == FIRST_USER + 1
    withdraw(catalog, USERS, user(FIRST_USER))
    assert following() == FIRST_USER + 1


def test_scopes_of_accounts_and_projects_cannot_be_confused() -> None:
    assert len({TOPOLOGY, BASE, account_scope("base"), project_scope("base"), account_scope("a"), project_scope("a")}) == 6


def rows(catalog: Catalog) -> int:
    with catalog.database.read() as connection:
        found: int = connection.execute(select(func.count()).select_from(tables.image)).scalar_one()
    return found


# any history, against a dictionary


IDS = st.sampled_from(["pimg-a", "pimg-b", "pimg-c"])
IMAGE_CHANGES = st.one_of(
    st.tuples(
        st.just("put"),
        st.builds(
            image,
            IDS,
            project=st.sampled_from([NO_PROJECT, "org-a"]),
            name=st.sampled_from(["one", "two"]),
            deprecated=st.booleans(),
            zones=st.lists(st.sampled_from(["hk-01", "hk-02"]), unique=True),
            support=st.dictionaries(st.sampled_from(["DB-2", "SSD-1"]), st.lists(st.sampled_from(["10G", "25G"]), unique=True)),
        ),
    ),
    st.tuples(st.just("withdraw"), IDS),
)
HISTORIES = st.lists(st.tuples(st.lists(IMAGE_CHANGES, max_size=5), st.booleans()), max_size=8)


class Undone(Exception):
    """Raised by a block that changes its mind."""


def test_a_random_id_that_a_project_has_or_had_is_given_to_no_other_project(catalog: Catalog) -> None:
    def add(account: str) -> Project:
        with catalog.change(author()) as change:
            return add_project(change, AccountId(account), "made", bytes)

    first = add("acme")
    with pytest.raises(ServiceUnavailable):
        add("rival")
    assert live(catalog, PROJECTS) == [first]
    with catalog.change(author()) as change:
        remove_project(change, first)
    with pytest.raises(ServiceUnavailable):
        add("rival")
    assert live(catalog, PROJECTS) == []


@settings(max_examples=examples(10, 30), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(history=HISTORIES)
def test_any_history_reads_at_every_revision_as_a_dictionary_would(
    new_catalog: NewCatalog, history: list[tuple[list[tuple[str, Any]], bool]]
) -> None:
    with new_catalog() as catalog:
        now: Mapping[str, Any] = {}
        past = [now]
        for steps, fails in history:
            then, touched = dict(now), False
            try:
                with catalog.change(author()) as change:
                    for verb, subject in steps:
                        if verb == "put":
                            touched |= IMAGES.put(change, subject)
                            then[subject.id] = subject
                        elif subject in then:
                            IMAGES.withdraw(change, then.pop(subject))
                            touched = True
                    if fails:
                        raise Undone
            except Undone:
                continue
            if touched:
                now = then
                past.append(now)
            assert catalog.head == len(past) - 1

        for number, expected in enumerate(past):
            assert {found.id: found for found in at(catalog, IMAGES, number)} == expected
        assert {found.id: found for found in live(catalog, IMAGES)} == now
