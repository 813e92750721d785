"""The catalogue as one process sees it: what it remembers, what makes that stale, and what it never mixes (`catalog.store`)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from phimage.catalog.accounts import ACCOUNTS, KEYS, MEMBERSHIPS, PROJECTS, USERS
from phimage.catalog.engine import Database
from phimage.catalog.images import IMAGES
from phimage.catalog.key_encryption import KeyEncryption
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES
from phimage.catalog.revisions import Change
from phimage.catalog.views import MAX_ENTRIES, Catalog, View
from phimage.errors import NotCached, ServiceUnavailable, SetupError
from phimage.model.account import Key, PrivateKey, Role
from phimage.model.ids import AccountId, ProjectId, PublicKey, Revision
from phimage.revision_cache import RevisionCache, ScopeVersions
from tests.conftest import Reopen, both_databases, sqlite_first
from tests.contract.conftest import Statements
from tests.examples import (
    PRIVATE_KEY,
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

dialect = sqlite_first

pytestmark = pytest.mark.usefixtures("nothing_local")

ACME, OTHER = AccountId("acme"), AccountId("other")
ORG_A, ORG_B = ProjectId("org-a"), ProjectId("org-b")

READS: dict[str, Callable[[View], object]] = {
    "topology": lambda view: view.topology(),
    "base": lambda view: view.base_images(),
    "images of org-a": lambda view: view.images_of(ORG_A),
    "images of org-b": lambda view: view.images_of(ORG_B),
    "tenant acme": lambda view: view.tenant(ACME),
    "tenant other": lambda view: view.tenant(OTHER),
    "key of acme": lambda view: view.key(PublicKey("key-acme")),
    "key of other": lambda view: view.key(PublicKey("key-other")),
}
"""Everything that a view can be asked for, by name."""

CHANGES: dict[str, tuple[Callable[[Change], object], set[str]]] = {
    "region": (lambda change: REGIONS.put(change, region(default=True)), {"topology"}),
    "zone": (lambda change: ZONES.put(change, zone("cn-bj2-09")), {"topology"}),
    "cluster": (lambda change: CLUSTERS.put(change, cluster("100G")), {"topology"}),
    "machine type": (lambda change: MACHINE_TYPES.put(change, machine_type(memory=1)), {"topology"}),
    "offer": (lambda change: OFFERS.put(change, offer(stock=99)), {"topology"}),
    "offer withdrawn": (lambda change: OFFERS.withdraw(change, offer()), {"topology"}),
    "base image": (lambda change: IMAGES.put(change, image("pimg-new")), {"base"}),
    "base image withdrawn": (lambda change: IMAGES.withdraw(change, image("pimg-base")), {"base"}),
    "custom image": (lambda change: IMAGES.put(change, image("pimg-a2", project="org-a")), {"images of org-a"}),
    "moved image": (
        lambda change: IMAGES.put(change, image("pimg-a", project="org-b")),
        {"images of org-a", "images of org-b"},
    ),
    "published image": (lambda change: IMAGES.put(change, image("pimg-a")), {"images of org-a", "base"}),
    "image of a third project": (lambda change: IMAGES.put(change, image("pimg-c", project="org-c")), set()),
    "account": (lambda change: ACCOUNTS.put(change, account(zones=("hk-01",))), {"tenant acme", "key of acme"}),
    "user": (lambda change: USERS.put(change, user(3, name="new")), {"tenant acme", "key of acme"}),
    "project": (lambda change: PROJECTS.put(change, project("org-new")), {"tenant acme", "key of acme"}),
    "membership": (
        lambda change: MEMBERSHIPS.put(change, membership("org-a", 1, role=Role.EDITOR)),
        {"tenant acme", "key of acme"},
    ),
    "key": (lambda change: KEYS.put(change, encrypted_key("key-new", "other")), {"tenant other", "key of other"}),
    "key revoked": (lambda change: KEYS.withdraw(change, key("key-acme")), {"tenant acme", "key of acme"}),
    "two at once": (
        lambda change: (IMAGES.put(change, image("pimg-new")), IMAGES.put(change, image("pimg-b2", project="org-b"))),
        {"base", "images of org-b"},
    ),
    "nothing": (lambda change: IMAGES.put(change, image("pimg-base")), set()),
}
"""Changes, each with what it makes stale."""


def encrypted_key(id: str, of: str, private: str = PRIVATE_KEY) -> Key:
    key_encryption = KeyEncryption(bytes(range(32)), lambda length: b"n" * length)
    return key(id, of, encrypted=key_encryption.encrypt(PublicKey(id), PrivateKey(private)))


@pytest.fixture
def full(catalog: Catalog) -> Catalog:
    """The catalogue with something of everything in it, and nothing remembered."""
    with catalog.change(author()) as change:
        REGIONS.put(change, region())
        ZONES.put(change, zone())
        CLUSTERS.put(change, cluster(default=True))
        MACHINE_TYPES.put(change, machine_type())
        OFFERS.put(change, offer())
        for found in (image("pimg-base"), image("pimg-a", project="org-a"), image("pimg-b", project="org-b")):
            IMAGES.put(change, found)
        for number, of in ((1, "acme"), (2, "other")):
            ACCOUNTS.put(change, account(of))
            USERS.put(change, user(number, of, main=True))
            PROJECTS.put(change, project(f"org-{of}", of, default=True))
            KEYS.put(change, encrypted_key(f"key-{of}", of))
    return catalog


def read_all(view: View) -> dict[str, Any]:
    return {name: comparable(read(view)) for name, read in READS.items()}


def comparable(value: object) -> object:
    """A value with private keys revealed, so that two can be compared."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], PrivateKey):
        return value[0], value[1].reveal()
    return value


def at_once(catalog: Catalog) -> set[str]:
    """Names of what can be answered without waiting."""
    found = set()
    for name, read in READS.items():
        try:
            read(catalog.now(wait=False))
        except NotCached:
            continue
        found.add(name)
    return found


def make(catalog: Catalog, name: str) -> set[str]:
    """Make one of the changes; says what it makes stale."""
    apply, stale = CHANGES[name]
    with catalog.change(author()) as change:
        apply(change)
    return stale


# remembering


@pytest.mark.parametrize("name", READS)
def test_a_second_read_asks_the_database_nothing(full: Catalog, statements: Statements, name: str) -> None:
    with statements.counted() as sent:
        first = READS[name](full.now(wait=True))
        assert sent
    with statements.counted() as sent:
        assert READS[name](full.now(wait=False)) is first
        assert READS[name](full.now(wait=True)) is first
    assert sent == []


@pytest.mark.parametrize("name", READS)
def test_what_is_not_remembered_must_wait_and_asks_the_database_nothing(
    full: Catalog, statements: Statements, name: str
) -> None:
    with statements.counted() as sent, pytest.raises(NotCached):
        READS[name](full.now(wait=False))
    assert sent == []


INQUIRED = [name for name in READS if name not in ("topology", "base")]


@pytest.mark.parametrize("name", INQUIRED)
def test_what_one_statement_answers_is_had_without_waiting(
    full: Catalog, statements: Statements, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.undo()  # SQLite is local
    expected = repr(READS[name](full.now(wait=True)))  # a private key is like no other one
    full.facts = RevisionCache(MAX_ENTRIES, ScopeVersions(MAX_ENTRIES))

    async def fetched() -> object:
        try:
            return READS[name](full.now(wait=False))
        except NotCached as missing:
            fetch = missing.fetch
        assert fetch is not None
        assert await fetch()
        return READS[name](full.now(wait=False))

    with statements.counted() as sent:
        assert repr(asyncio.run(fetched())) == expected
    assert sent == ["a lookup"]
    with statements.counted() as sent:
        assert repr(READS[name](full.now(wait=False))) == expected
    assert sent == []


@pytest.mark.parametrize("name", READS)
def test_a_database_that_counts_as_away_is_asked_nothing(
    full: Catalog, statements: Statements, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.undo()
    full.database.circuit.open("away")
    for wait in (False, True):
        with statements.counted() as sent, pytest.raises(ServiceUnavailable):
            READS[name](full.now(wait=wait))
        assert sent == []


def test_making_a_view_asks_the_database_nothing(full: Catalog, statements: Statements) -> None:
    with statements.counted() as sent:
        full.now(wait=True)
        full.at(Revision(1), wait=True)
    assert sent == []


def test_a_view_that_may_not_wait_says_so_before_a_caller_reads_by_itself(full: Catalog) -> None:
    full.now(wait=True).may_wait()
    with pytest.raises(NotCached):
        full.now(wait=False).may_wait()


def test_that_a_project_has_no_images_is_remembered(full: Catalog, statements: Statements) -> None:
    assert full.now(wait=True).images_of(ProjectId("org-none")) == ()
    with statements.counted() as sent:
        assert full.now(wait=False).images_of(ProjectId("org-none")) == ()
    assert sent == []


@pytest.mark.parametrize("read", [lambda view: view.key(PublicKey("unknown")), lambda view: view.tenant(AccountId("unknown"))])
def test_who_does_not_exist_is_not_remembered(full: Catalog, statements: Statements, read: Callable[[View], object]) -> None:
    for _ in range(2):
        with statements.counted() as sent:
            assert read(full.now(wait=True)) is None
        assert sent
        with pytest.raises(NotCached):
            read(full.now(wait=False))


def test_a_process_remembers_only_so_much_and_forgets_what_was_not_asked_for_longest(
    full: Catalog,
) -> None:
    full = Catalog(full.database, full.key_encryption, max_entries=3)

    for name in ("topology", "base", "images of org-a", "topology", "images of org-b", "tenant acme"):
        READS[name](full.now(wait=True))

    assert at_once(full) == {"topology", "images of org-b", "tenant acme"}


def test_a_topology_counts_by_its_parts_because_one_of_each_past_revision_may_be_remembered(full: Catalog) -> None:
    with full.change(author()) as change:
        ZONES.add_all(change, [zone(f"cn-bj2-{number}") for number in range(100, 200)])
    small = Catalog(full.database, full.key_encryption, max_entries=20)

    for name in ("topology", "tenant acme"):
        READS[name](small.now(wait=True))

    assert at_once(small) == {"tenant acme"}


# what makes it stale


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_makes_stale_exactly_what_it_touched(full: Catalog, statements: Statements, name: str) -> None:
    read_all(full.now(wait=True))
    assert at_once(full) == set(READS)

    with statements.counted() as sent:
        stale = make(full, name)
        assert sent
        sent.clear()
        assert at_once(full) == set(READS) - stale
        assert sent == []

    again = full.now(wait=True)
    for read in set(READS) - stale:
        with statements.counted() as sent:
            READS[read](again)
        assert sent == []
    with statements.counted() as sent:
        for read in stale:  # a key brings its tenant along
            READS[read](again)
    assert bool(sent) == bool(stale)


@pytest.mark.parametrize("name", CHANGES)
def test_after_a_change_a_view_sees_what_a_process_that_just_started_sees(full: Catalog, reopen: Reopen, name: str) -> None:
    read_all(full.now(wait=True))
    make(full, name)

    assert read_all(full.now(wait=True)) == read_all(reopen(full).now(wait=True))


def test_a_change_that_failed_makes_nothing_stale(full: Catalog) -> None:
    before = read_all(full.now(wait=True))

    def fail() -> None:
        with full.change(author()) as change:
            for apply, _ in CHANGES.values():
                apply(change)
            raise ValueError("changed its mind")

    with pytest.raises(ValueError, match="changed its mind"):
        fail()

    assert at_once(full) == set(READS)
    assert read_all(full.now(wait=False)) == before


def test_a_change_in_one_project_costs_other_projects_nothing(full: Catalog, statements: Statements) -> None:
    read_all(full.now(wait=True))

    for number in range(5):
        with full.change(author()) as change:
            IMAGES.put(change, image("pimg-a", project="org-a", name=f"name {number}"))
        with statements.counted() as sent:
            assert [found.id for found in full.now(wait=False).images_of(ORG_B)] == ["pimg-b"]
            assert [found.id for found in full.now(wait=False).base_images()] == ["pimg-base"]
        assert sent == []
        assert full.now(wait=True).images_of(ORG_A)[0].name == f"name {number}"


def test_a_process_remembers_for_how_long_it_has_known_of_a_revision(catalog: Catalog) -> None:
    now = 100.0
    late = Catalog(catalog.database, catalog.key_encryption, clock=lambda: now)
    assert late.known_for(Revision(1)) < 0

    for number in (1, 2, 3):
        now += 8.0
        with catalog.change(author()) as change:
            REGIONS.put(change, region(f"region-{number}", number))
        late.refresh()
    now += 0.5

    assert [late.known_for(Revision(number)) for number in (1, 2, 3)] == [16.5, 8.5, 0.5]
    assert late.known_for(Revision(0)) >= 16.5
    assert late.known_for(Revision(4)) < 0


def test_changes_of_very_many_scopes_are_forgotten_without_a_wrong_answer(full: Catalog, reopen: Reopen) -> None:
    full = Catalog(full.database, full.key_encryption, max_entries=2)
    old = full.now(wait=True)
    before = read_all(old)

    for number in range(25):
        read_all(full.now(wait=True))
        full.now(wait=True).base_images()  # is remembered when the change comes
        with full.change(author()) as change:
            IMAGES.put(change, image(f"pimg-{number}", project=f"org-{number}"))
            IMAGES.put(change, image("pimg-base", name=f"name {number}"))
        assert full.now(wait=True).base_images()[0].name == f"name {number}"
        assert [found.id for found in full.now(wait=True).images_of(ProjectId(f"org-{number}"))] == [f"pimg-{number}"]

    assert read_all(old) == before == read_all(full.at(old.revision, wait=True))
    assert read_all(full.now(wait=True)) == read_all(reopen(full).now(wait=True))


# other processes


@pytest.mark.parametrize("name", CHANGES)
def test_another_processs_change_is_seen_after_a_refresh_and_makes_stale_exactly_what_it_touched(
    full: Catalog, reopen: Reopen, name: str
) -> None:
    other = reopen(full)
    before = read_all(full.now(wait=True))

    stale = make(other, name)
    assert at_once(full) == set(READS)
    assert read_all(full.now(wait=False)) == before

    assert full.refresh() == other.head == full.head
    assert at_once(full) == set(READS) - stale
    assert read_all(full.now(wait=True)) == read_all(other.now(wait=True))


def test_a_refresh_without_news_changes_nothing_and_costs_little(full: Catalog, statements: Statements) -> None:
    read_all(full.now(wait=True))

    with statements.counted() as sent:
        assert full.refresh() == 1
    assert len([statement for statement in sent if statement.startswith("SELECT")]) == 1
    assert at_once(full) == set(READS)


def test_a_process_that_starts_later_starts_at_the_newest_revision(full: Catalog, reopen: Reopen) -> None:
    make(full, "base image")
    make(full, "custom image")

    assert reopen(full).head == full.head == 3


def test_a_process_that_writes_learns_of_everything_that_others_wrote_before(full: Catalog, reopen: Reopen) -> None:
    other = reopen(full)
    read_all(full.now(wait=True))
    make(other, "base image")
    make(other, "custom image")

    make(full, "region")

    assert full.head == 4
    assert at_once(full) == set(READS) - {"base", "images of org-a", "topology"}
    assert len(full.now(wait=True).base_images()) == 2


def test_who_waits_for_news_is_called_once_for_each(full: Catalog, reopen: Reopen) -> None:
    heard: list[Revision] = []
    full.on_new_revision(lambda: heard.append(full.head))
    other = reopen(full)

    make(full, "base image")
    make(full, "nothing")
    make(other, "custom image")
    make(other, "region")
    full.refresh()
    full.refresh()

    assert heard == [2, 4]


class Failing(Database):
    """A database that can be made unable to answer reads."""

    away = False

    @contextmanager
    def read(self, *, probe: bool = False) -> Iterator[Connection]:
        if self.away:
            raise ServiceUnavailable(detail="away")
        with super().read(probe=probe) as connection:
            yield connection


def test_a_change_is_not_called_a_failure_when_only_what_comes_after_its_commit_fails(full: Catalog, reopen: Reopen) -> None:
    database = Failing(full.database.engine)
    mine = Catalog(database, full.key_encryption)
    make(full, "base image")  # so that the next commit of `mine` has to look what came between

    with mine.change(author()) as change:
        IMAGES.put(change, image("pimg-mine"))
        database.away = True
    assert mine.head == 3, "whoever made a change sees it, also when nothing can be learned of the one before"
    with pytest.raises(NotCached):
        mine.now(wait=False).base_images()

    database.away = False
    assert mine.refresh() == 3
    assert len(mine.now(wait=True).base_images()) == 3


# one view, one revision


def test_a_view_keeps_showing_its_revision_while_changes_commit(full: Catalog, reopen: Reopen) -> None:
    view, other = full.now(wait=True), reopen(full)
    images = view.base_images()

    make(full, "base image")
    make(other, "offer")
    make(other, "custom image")
    full.refresh()

    assert view.revision == 1
    assert view.base_images() == images
    assert view.topology().offers == (offer(),)  # read only now, and still of then
    assert [found.id for found in view.images_of(ORG_A)] == ["pimg-a"]
    newest = full.now(wait=True)
    assert len(newest.base_images()) == 2
    assert newest.topology().offers == (offer(stock=99),)
    assert len(newest.images_of(ORG_A)) == 2


def test_a_view_that_may_not_wait_never_answers_from_a_later_revision(full: Catalog) -> None:
    view = full.now(wait=False)
    read_all(full.now(wait=True))
    make(full, "base image")
    read_all(full.now(wait=True))

    with pytest.raises(NotCached):
        view.base_images()
    assert view.images_of(ORG_A) == full.now(wait=False).images_of(ORG_A)  # not touched, so the same in both


def test_an_old_view_does_not_spoil_what_new_ones_remember(full: Catalog) -> None:
    old = full.now(wait=True)
    make(full, "base image")
    newest = read_all(full.now(wait=True))
    assert len(old.base_images()) == 1

    assert read_all(full.now(wait=True)) == newest


def test_who_may_ask_is_read_from_the_present_whatever_the_view(full: Catalog) -> None:
    old, pinned = full.now(wait=True), full.at(Revision(1), wait=True)
    empty = full.at(Revision(0), wait=True)
    before = old.tenant(ACME)

    make(full, "account")
    make(full, "key revoked")

    for view in (old, pinned, empty):
        assert view.key(PublicKey("key-acme")) is None
        assert view.tenant(ACME) == full.now(wait=True).tenant(ACME) != before
        assert view.key(PublicKey("key-other")) is not None


@both_databases
def test_views_never_mix_two_revisions_while_another_thread_writes(full: Catalog) -> None:
    looked_once, over = threading.Event(), threading.Event()
    read = 0

    def write() -> None:
        assert looked_once.wait(60)
        for number in range(2, 42):
            with full.change(author()) as change:
                assert change.number == number
                IMAGES.put(change, image("pimg-base", name=str(number)))
                IMAGES.put(change, image("pimg-a", project="org-a", name=str(number)))
                OFFERS.put(change, offer(stock=number))

    def look() -> int:
        looked = 0
        while not over.is_set():
            for view in (full.now(wait=True), full.at(full.head, wait=True)):
                base, custom = view.base_images(), view.images_of(ORG_A)
                stock = view.topology().offers[0].stock
                if view.revision > 1:
                    assert base[0].name == custom[0].name == str(stock) == str(view.revision)
                looked += 1
            looked_once.set()
        return looked

    with ThreadPoolExecutor(3) as pool:
        looking = [pool.submit(look) for _ in range(3)]
        try:
            write()
        finally:
            over.set()
        read = sum(found.result(60) for found in looking)

    assert read > 0
    assert full.now(wait=True).base_images()[0].name == "41"


# the past


def test_a_past_revision_is_remembered_and_no_change_makes_it_stale(full: Catalog, statements: Statements) -> None:
    before = read_all(full.at(Revision(1), wait=True))

    for name in ("region", "base image", "custom image", "moved image"):
        make(full, name)
    with statements.counted() as sent:
        pinned = full.at(Revision(1), wait=False)
        for name in ("topology", "base", "images of org-a", "images of org-b"):
            assert READS[name](pinned) == before[name]
    assert sent == []


def test_what_is_remembered_of_the_present_and_of_the_past_is_kept_apart(full: Catalog) -> None:
    now = [full.now(wait=True).base_images()]
    for number in range(3):
        with full.change(author()) as change:
            IMAGES.put(change, image("pimg-base", name=f"name {number}"))
        now.append(full.now(wait=True).base_images())

    assert [full.at(Revision(number), wait=True).base_images() for number in range(1, 5)] == now
    assert full.now(wait=True).base_images() == now[-1]


def test_revision_0_is_empty(full: Catalog) -> None:
    view = full.at(Revision(0), wait=True)

    assert view.base_images() == view.images_of(ORG_A) == ()
    assert not view.topology().regions
    assert view.pinned


# keys


def test_a_key_comes_opened(full: Catalog) -> None:
    found = full.now(wait=True).key(PublicKey("key-acme"))

    assert found is not None
    assert found[0].account == "acme"
    assert found[1].reveal() == PRIVATE_KEY


def test_a_revoked_key_is_gone_at_once_and_in_other_processes_after_their_refresh(full: Catalog, reopen: Reopen) -> None:
    other = reopen(full)
    for found in (full, other):
        assert found.now(wait=True).key(PublicKey("key-acme")) is not None

    make(full, "key revoked")

    assert full.now(wait=True).key(PublicKey("key-acme")) is None
    assert other.now(wait=True).key(PublicKey("key-acme")) is not None
    other.refresh()
    assert other.now(wait=True).key(PublicKey("key-acme")) is None


def test_an_encrypted_key_in_another_row_cannot_be_decrypted(full: Catalog) -> None:
    stolen = msgspec.structs.replace(encrypted_key("key-acme", "acme"), id=PublicKey("key-thief"))
    with full.change(author()) as change:
        KEYS.put(change, stolen)

    with pytest.raises(SetupError):
        full.now(wait=True).key(PublicKey("key-thief"))
