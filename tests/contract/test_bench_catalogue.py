"""The catalogue that is measured is what it says, and what is measured on it are right answers."""

from __future__ import annotations

from pathlib import Path
from random import Random
from urllib.parse import parse_qs

import msgspec
import pytest
from bench import catalogue, mixes

from phimage.actions import registry
from phimage.actions.service import Service
from phimage.catalog.accounts import all_accounts
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.gateway.dispatch import Attempt, Dispatcher, RawRequest
from phimage.installation import open_catalog
from phimage.settings import Settings
from tests.property.test_listing_property import Asked, State, Stored, naive_list

IMAGES = 2_000


def ask(catalog: Catalog, body: str) -> dict[str, object]:
    dispatcher = Dispatcher(registry(), catalog, Service(catalog=catalog, store=MemoryStore()))
    raw = RawRequest("POST", "/", "", "application/x-www-form-urlencoded", body.encode(), "127.0.0.1", "a-request")
    found: dict[str, object] = msgspec.json.decode(dispatcher.answer(raw, Attempt(wait=True)).body)
    return found


def naive(body: str, state: State) -> tuple[int, list[str]]:
    """How many images a question has, and its page, by the naive list."""
    given = {name: values[0] for name, values in parse_qs(body).items()}
    zones, kind = (given["Zone"],), given.get("MachineType")
    asked = Asked(given["ProjectId"], zones, given.get("ImageType"), frozenset(), kind, given.get("Cluster"), operator=False)
    ids = [id for id, _ in naive_list(state, asked)]
    offset = int(given.get("Offset", 0))
    return len(ids), ids[offset : offset + 20]


@pytest.mark.more
def test_its_lists_are_those_of_the_naive_list(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"), database=database_url)
    catalogue.fill(settings, IMAGES)
    catalog = open_catalog(settings)
    try:
        view = catalog.now(wait=True)
        topology = view.topology()
        state = State()
        state.default = str(topology.default_cluster())
        state.offers = {(one.machine_type, one.zone, one.cluster) for one in topology.offers}
        random = Random(catalogue.SEED)
        for image in [*view.base_images(), *catalogue.custom_images(IMAGES, topology, random)]:
            support = {str(kind): tuple(map(str, on)) for kind, on in image.support.items()}
            state.images[image.id] = Stored(image.project, image.zones, support, image.created, image.deprecated, "")
        assert len(view.base_images()) == catalogue.BASE_IMAGES

        questions = Random(1).sample([*mixes.hot(IMAGES, topology), *mixes.cold(IMAGES, topology)], 60)
        for body in questions:
            answer = ask(catalog, body)
            assert answer["RetCode"] == 0, answer
            images = answer["ImageSet"]
            assert isinstance(images, list)
            assert (answer["TotalCount"], [image["ImageId"] for image in images]) == naive(body, state)
    finally:
        catalog.database.close()


def test_it_has_as_many_accounts_and_projects_as_it_says(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))
    catalogue.fill(settings, IMAGES)
    catalog = open_catalog(settings)
    try:
        with catalog.database.read() as connection:
            accounts = all_accounts(connection)
        assert len(accounts) == 1 + IMAGES // catalogue.PROJECT_IMAGES // catalogue.ACCOUNT_PROJECTS
        view = catalog.now(wait=True)
        last = catalogue.tenant(catalogue.projects(IMAGES) - 1, view.topology())
        assert len(view.images_of(last.project)) == catalogue.PROJECT_IMAGES
    finally:
        catalog.database.close()


@pytest.mark.parametrize("mix", ["hot", "cold"])
def test_a_mix_asks_no_question_twice(mix: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path / "data"))
    catalogue.fill(settings, IMAGES)
    catalog = open_catalog(settings)
    try:
        topology = catalog.now(wait=True).topology()
    finally:
        catalog.database.close()
    asked = mixes.hot(IMAGES, topology) if mix == "hot" else list(mixes.cold(IMAGES, topology))
    assert len(set(asked)) == len(asked) == (mixes.HOT_QUERIES if mix == "hot" else catalogue.projects(IMAGES))
    if mix == "cold":
        assert len({parse_qs(body)["ProjectId"][0] for body in asked}) == len(asked)
