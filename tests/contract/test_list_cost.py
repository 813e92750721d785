"""What a list asks of the database, and what makes it ask again: nothing but a change of what it depends on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from phimage.actions import registry
from phimage.actions.listing import ListSection, sections_of
from phimage.actions.service import Service
from phimage.catalog.accounts import ACCOUNTS, NewKey, add_account, put_key
from phimage.catalog.images import IMAGES
from phimage.catalog.places import CLUSTERS, MACHINE_TYPES, OFFERS, REGIONS, ZONES
from phimage.catalog.revisions import Change
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.errors import NotCached
from phimage.gateway.dispatch import Attempt, Dispatcher, RawRequest
from phimage.model.account import PrivateKey
from phimage.model.ids import ProjectId, PublicKey, ZoneId
from phimage.model.image import NO_PROJECT, Query
from tests.api.signer import Encoding, Pair, signed
from tests.contract.conftest import Statements
from tests.examples import account, author, cluster, image, machine_type, offer, region, zone

ACME, RIVAL = Pair("key-acme", "secret-acme"), Pair("key-rival", "secret-rival")
RANDOM = b"0123456789abcdefghijklmnopqrstuvwxyz"


class Site:
    """A gateway over a catalogue in which two accounts have a project each, with 60 custom images in it."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.dispatcher = Dispatcher(registry(), catalog, Service(catalog=catalog, store=MemoryStore()))
        with catalog.change(author()) as change:
            REGIONS.put(change, region())
            ZONES.put(change, zone())
            CLUSTERS.put(change, cluster(default=True))
            MACHINE_TYPES.put(change, machine_type())
            OFFERS.put(change, offer())
            IMAGES.add_all(change, [image(f"pimg-b{number:02}") for number in range(5)])
            self.projects = {pair: self._open(change, pair) for pair in (ACME, RIVAL)}

    def _open(self, change: Change, pair: Pair) -> str:
        of = pair.public.removeprefix("key-")
        user, project = add_account(change, account(of), lambda length: (of.encode() + RANDOM)[:length])
        put_key(change, user, self.catalog.key_encryption, NewKey(PublicKey(pair.public), PrivateKey(pair.private)))
        IMAGES.add_all(change, [image(f"pimg-{of}-{number:02}", project=project.id) for number in range(60)])
        return project.id

    def change(self, apply: Callable[[Change], object]) -> None:
        with self.catalog.change(author()) as change:
            apply(change)

    def ask(self, pair: Pair, *, wait: bool, **params: Any) -> bytes:
        """The answer to a list; raises NotCached if it may not wait and would have to."""
        asked = {"Region": "cn-bj2", "Zone": "cn-bj2-02", "Limit": 100, **params}
        request = signed("DescribePHostImage", asked, Encoding.FORM, pair)
        kind = dict(request.headers)["Content-Type"]
        raw = RawRequest("POST", "/", "", kind, request.body, "127.0.0.1", "a-request")
        answer = self.dispatcher.answer(raw, Attempt(wait=wait))
        assert answer.ret_code == 0, answer.body
        return answer.body

    async def fetched(self, pair: Pair) -> bytes:
        """The answer to a list as the event loop comes to it: what is missing is fetched as long as there is something to."""
        request = signed("DescribePHostImage", {"Region": "cn-bj2", "Zone": "cn-bj2-02", "Limit": 100}, Encoding.FORM, pair)
        kind = dict(request.headers)["Content-Type"]
        raw = RawRequest("POST", "/", "", kind, request.body, "127.0.0.1", "a-request")
        while True:
            try:
                return self.dispatcher.answer(raw, Attempt(wait=False)).body
            except NotCached as missing:
                if missing.fetch is None or not await missing.fetch():
                    raise

    def listed(self, pair: Pair, **params: Any) -> list[str]:
        answer = msgspec.json.decode(self.ask(pair, wait=True, **params))
        return [found["ImageName"] for found in answer["ImageSet"]]


@pytest.fixture
def site(catalog: Catalog) -> Site:
    return Site(catalog)


def test_a_list_that_was_asked_for_before_touches_no_sql(site: Site, statements: Statements) -> None:
    first = site.ask(ACME, wait=True)
    with statements.counted() as sent:
        for _ in range(3):
            assert site.ask(ACME, wait=False) == first
    assert sent == []


def test_another_page_and_another_filter_of_a_known_project_touch_no_sql(site: Site, statements: Statements) -> None:
    site.ask(ACME, wait=True)
    with statements.counted() as sent:
        for params in ({"Offset": 20}, {"Offset": 64, "Limit": 1}, {"ImageType": "Custom"}, {"MachineType": "DB-2"}):
            site.ask(ACME, wait=False, **params)
    assert sent == []


def test_who_was_never_here_costs_two_inquiries_and_no_thread(site: Site, statements: Statements) -> None:
    site.ask(ACME, wait=True)
    with statements.counted() as sent:
        answer = asyncio.run(site.fetched(RIVAL))
    assert sent == ["a lookup"] * 2, "the caller with its account, and its images"
    assert answer == site.ask(RIVAL, wait=True)


def test_an_unknown_key_costs_one_lookup_before_a_thread_reads(site: Site, statements: Statements) -> None:
    with statements.counted() as sent, suppress(NotCached):
        assert b"RetCode" in asyncio.run(site.fetched(Pair("key-nobody", "secret")))
    assert sent == ["a lookup"]


@pytest.mark.usefixtures("nothing_local")
def test_a_change_in_one_project_costs_another_nothing(site: Site, statements: Statements) -> None:
    own, other = site.ask(ACME, wait=True), site.ask(RIVAL, wait=True)

    site.change(lambda change: IMAGES.put(change, image("pimg-acme-07", project=site.projects[ACME], name="changed")))

    with statements.counted() as sent:
        assert site.ask(RIVAL, wait=False) == other
        with pytest.raises(NotCached):
            site.ask(ACME, wait=False)
    assert sent == []
    assert site.ask(ACME, wait=True) != own
    assert site.listed(ACME).count("changed") == 1


@pytest.mark.usefixtures("nothing_local")
def test_a_change_of_an_account_costs_another_nothing(site: Site, statements: Statements) -> None:
    other = site.ask(RIVAL, wait=True)
    site.ask(ACME, wait=True)

    site.change(lambda change: ACCOUNTS.put(change, account("acme", zones=("cn-bj2-02",))))

    with statements.counted() as sent:
        assert site.ask(RIVAL, wait=False) == other
        with pytest.raises(NotCached):
            site.ask(ACME, wait=False)
    assert sent == []


@pytest.mark.parametrize(
    ("apply", "expected"),
    [
        (lambda change: IMAGES.put(change, image("pimg-b01", name="changed")), ["changed"]),
        (lambda change: OFFERS.withdraw(change, offer()), []),
    ],
)
def test_what_everybody_sees_changes_for_everybody(site: Site, apply: Callable[[Change], object], expected: list[str]) -> None:
    before = {pair: site.listed(pair, MachineType="DB-2") for pair in (ACME, RIVAL)}
    assert all(len(names) == 65 for names in before.values())

    site.change(apply)

    for pair in (ACME, RIVAL):
        if expected:
            assert site.listed(pair, MachineType="DB-2").count("changed") == 1
        else:
            assert site.listed(pair) == before[pair]
            assert b'"Support":[]' in site.ask(pair, wait=True)


def test_projects_share_what_they_list_of_the_base_images(site: Site) -> None:
    (base, own), (same, other) = (sections(site, pair) for pair in (ACME, RIVAL))
    assert base is same
    assert own is not other


def test_a_change_in_a_project_leaves_the_sections_of_others_as_they_are(site: Site) -> None:
    base, own = sections(site, ACME)

    site.change(lambda change: IMAGES.put(change, image("pimg-rival-07", project=site.projects[RIVAL], name="changed")))
    assert sections(site, ACME) == [base, own]
    assert sections(site, ACME)[1] is own

    site.change(lambda change: IMAGES.put(change, image("pimg-b01", name="changed")))
    again = sections(site, ACME)
    assert again[0] is not base
    assert again[1] is own


def sections(site: Site, pair: Pair) -> list[ListSection]:
    """The sections of a list. No project is too small for the cache here."""
    query = Query(project=ProjectId(site.projects[pair]), zones=(ZoneId("cn-bj2-02"),))
    assert query.project != NO_PROJECT
    return sections_of(query, site.catalog.now(wait=True), site.dispatcher.cache, few=0)
