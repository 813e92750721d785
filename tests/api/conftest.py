"""Gateways to send requests to: shared ones, which no test may change, and new ones for tests that do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from phimage import demo
from tests.api import small
from tests.api.gateway import Gateway, running, settings_for
from tests.api.publishing import Shop, shop_on

Start = Callable[..., Gateway]
"""Starts a gateway on a copy of a data folder: `start(folder, require_zone=False)`."""


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the demonstration."""
    folder = tmp_path_factory.mktemp("demo") / "data"
    demo.fill(settings_for(folder))
    return folder


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the catalogue that `small` describes."""
    folder = tmp_path_factory.mktemp("small") / "data"
    small.fill(settings_for(folder))
    return folder


@pytest.fixture(scope="session")
def gateway(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The demonstration as it is, for tests that change nothing."""
    yield from _unchanged(demo_folder, tmp_path_factory)


@pytest.fixture(scope="session")
def lenient(demo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The demonstration, where a list need not name its zone."""
    yield from _unchanged(demo_folder, tmp_path_factory, require_zone=False)


@pytest.fixture(scope="session")
def small_gateway(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The small catalogue, for tests that change nothing."""
    yield from _unchanged(small_folder, tmp_path_factory)


@pytest.fixture(scope="session")
def small_lenient(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The small catalogue, where a list need not name its zone."""
    yield from _unchanged(small_folder, tmp_path_factory, require_zone=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts gateways on copies, for tests that change something or need other settings."""
    with ExitStack() as stack:
        numbers = count(1)

        def begin(folder: Path, **settings: Any) -> Gateway:
            copy = _copy(folder, tmp_path / f"data{next(numbers)}")
            return stack.enter_context(running(settings_for(copy, **settings)))

        yield begin


@pytest.fixture
def shop(small_folder: Path, tmp_path: Path) -> Iterator[Shop]:
    """A gateway on a copy of the small catalogue, and a publisher that works when a test says so."""
    with shop_on(settings_for(_copy(small_folder, tmp_path / "shop"), most_original_gb=1, reserve_mb=0)) as found:
        yield found


def _unchanged(folder: Path, temporary: pytest.TempPathFactory, **settings: Any) -> Iterator[Gateway]:
    copy = _copy(folder, temporary.mktemp("shared") / "data")
    with running(settings_for(copy, **settings)) as gateway:
        before = _revision(gateway)
        yield gateway
        assert _revision(gateway) == before, "a test changed what it shares with others"


def _copy(folder: Path, to: Path) -> Path:
    """A copy of a data folder that no gateway runs on."""
    shutil.copytree(folder, to)
    return to


def _revision(gateway: Gateway) -> str:
    """The newest revision, which a refused request is told as well."""
    return gateway.ask("GetRegion").headers["x-phimage-revision"]
