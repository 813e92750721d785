"""Gateways to send requests to: shared ones, which no test may change, and new ones for tests that do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from phimage import demo
from phimage.settings import Settings
from tests.api import small
from tests.api.gateway import Gateway, running
from tests.api.publishing import Shop, disk, shop_on
from tests.contract import stores
from tests.contract.stores import KEYS
from tests.sites import SITES, LargeSite, NewSite, Site

s3 = stores.s3

Start = Callable[..., Gateway]
"""Starts a gateway on a copy of a site: `start(small_site, require_zone=False)`."""


both_sites = pytest.mark.parametrize("new_site", SITES, indirect=True, scope="session")
"""For a test whose statements or objects no other shows on PostgreSQL and S3 in `make test`."""


@pytest.fixture(scope="session", params=[SITES[0], pytest.param(SITES[1], marks=pytest.mark.more)])
def new_site(request: pytest.FixtureRequest) -> Iterator[NewSite]:
    """Makes sites. PostgreSQL and S3 are for `make test-more`, but for the tests of `both_sites`."""
    if request.param == "sqlite and folder":
        yield Site
        return
    postgresql, s3 = request.getfixturevalue("postgresql"), request.getfixturevalue("s3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        yield lambda data: LargeSite(data, postgresql, s3)


@pytest.fixture(scope="session")
def demo_site(new_site: NewSite, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The demonstration."""
    return _filled(new_site, tmp_path_factory, demo.fill)


@pytest.fixture(scope="session")
def small_site(new_site: NewSite, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The catalogue that `small` describes."""
    return _filled(new_site, tmp_path_factory, small.fill)


@pytest.fixture(scope="session")
def gateway(demo_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The demonstration as it is, for tests that change nothing."""
    yield from _unchanged(demo_site, tmp_path_factory)


@pytest.fixture(scope="session")
def lenient(demo_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The demonstration, where a list need not name its zone."""
    yield from _unchanged(demo_site, tmp_path_factory, require_zone=False)


@pytest.fixture(scope="session")
def small_gateway(small_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The small catalogue, for tests that change nothing."""
    yield from _unchanged(small_site, tmp_path_factory)


@pytest.fixture(scope="session")
def small_lenient(small_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The small catalogue, where a list need not name its zone."""
    yield from _unchanged(small_site, tmp_path_factory, require_zone=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts gateways on copies, for tests that change something or need other settings."""
    with ExitStack() as stack:
        numbers = count(1)

        def begin(site: Site, now: Callable[[], float] = time.time, *, watching: bool = True, **settings: Any) -> Gateway:
            copy = stack.enter_context(site.copy(tmp_path / f"data{next(numbers)}"))
            return stack.enter_context(running(copy.settings(**settings), watching=watching, now=now))

        yield begin


@pytest.fixture
def shop(small_site: Site, tmp_path: Path) -> Iterator[Shop]:
    """A gateway on a copy of the small catalogue, and a publisher that works when a test says so."""
    with small_site.copy(tmp_path / "shop") as copy, shop_on(copy.settings(max_original_gb=1, min_free_mb=0)) as found:
        yield found


@pytest.fixture(scope="module")
def shared_shop(small_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The same for the tests of a module that leave everything as it is, or add what no other looks at."""
    data = tmp_path_factory.mktemp("shared") / "shop"
    with small_site.copy(data) as copy, shop_on(copy.settings(max_original_gb=1, min_free_mb=0)) as found:
        yield found


@pytest.fixture(scope="module")
def shared_image(shared_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base image with bytes in the shared shop."""
    return shared_shop.publish(disk(tmp_path_factory.mktemp("image")))


def _filled(new_site: NewSite, temporary: pytest.TempPathFactory, fill: Callable[[Settings], object]) -> Site:
    site = new_site(temporary.mktemp("filled") / "data")
    fill(site.settings())
    return site


def _unchanged(site: Site, temporary: pytest.TempPathFactory, **settings: Any) -> Iterator[Gateway]:
    with site.copy(temporary.mktemp("shared") / "data") as copy, running(copy.settings(**settings)) as gateway:
        before = _revision(gateway)
        yield gateway
        assert _revision(gateway) == before, "a test changed what it shares with others"


def _revision(gateway: Gateway) -> str:
    """The newest revision, which a refused request is told as well."""
    return gateway.ask("GetRegion").headers["x-phimage-revision"]
