"""What has ended is told to nobody before every server answers accordingly, and no server judges a change by an older state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from phimage.catalog.places import ZONES
from phimage.settings import Settings
from tests import examples
from tests.api import small
from tests.api.conftest import both_sites
from tests.api.gateway import Gateway, running
from tests.api.publishing import ABOUT, NORTH_A, Shop, disk, shop_on
from tests.publishing.shop import AUTHOR
from tests.sites import Site

PATIENCE_SECONDS = 60


@pytest.fixture
def settings(small_site: Site, tmp_path: Path) -> Iterator[Settings]:
    with small_site.copy(tmp_path / "shared") as copy:
        yield copy.settings(max_original_gb=1, min_free_mb=0)


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    with shop_on(settings, alone=False) as found:
        yield found


@pytest.fixture
def other(settings: Settings) -> Iterator[Gateway]:
    """Another server, or another worker of the same one: they share the database and nothing else."""
    with running(settings, alone=False) as found:
        yield found


@both_sites
def test_an_image_is_available_everywhere_once_its_publication_is_told_done(shop: Shop, other: Gateway, tmp_path: Path) -> None:
    image = shop.begin(disk(tmp_path), **ABOUT, TrustFirstUse=True)
    job = shop.claim(image)
    servers = (shop.gateway, other)
    other.learn(shop.catalog.refresh())
    for server in servers:
        assert state(server, image) == "Making"

    shop.finish(job)

    ends = time.monotonic() + PATIENCE_SECONDS
    while (told := shop.well("GetPHostImageJob", {"ImageId": image}))["State"] != "Done":
        assert told["State"] == "Running"
        assert told["ImageState"] == "Making"
        assert time.monotonic() < ends
    assert told["ImageState"] == "Available"
    for server in servers:
        url = server.ask("GetPHostImageDownloadUrl", {"ImageId": image}, pair=shop.operator)
        assert url.ret_code == 0, url.fields
        assert state(server, image) == "Available"


def test_a_publication_that_is_asked_for_again_is_not_told_done_sooner(shop: Shop, other: Gateway, tmp_path: Path) -> None:
    asked = {**ABOUT, "TrustFirstUse": True, "Token": "once"}
    image = shop.begin(disk(tmp_path), **asked)
    job = shop.claim(image)
    other.learn(shop.catalog.refresh())
    assert state(other, image) == "Making"

    shop.finish(job)

    ends = time.monotonic() + PATIENCE_SECONDS
    while shop.well("PublishPHostImage", asked)["State"] != "Done":
        assert time.monotonic() < ends
    assert state(other, image) == "Available"


def state(server: Gateway, image: str) -> str:
    """The state of an image in a list of a tenant who asks for it by its id."""
    (listed,) = server.ask("DescribePHostImage", {**NORTH_A, "ImageId.0": image}, pair=small.ACME).images
    found: str = listed["State"]
    return found


@both_sites
def test_a_change_is_judged_by_the_newest_revision_at_every_server(shop: Shop, other: Gateway) -> None:
    shop.catalog.refresh()
    with shop.catalog.change(AUTHOR) as change:
        ZONES.put(change, examples.zone("north-z", "north"))

    asked = {**ABOUT, "Zone": ["north-a", "north-z"], "TrustFirstUse": True}
    answer = other.ask("PublishPHostImage", asked, pair=shop.operator)

    assert answer.ret_code == 0, answer.fields
