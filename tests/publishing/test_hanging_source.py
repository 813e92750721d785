"""A hanging source blocks neither the only publisher nor its image: others go first, and withdrawing ends it at once."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from phimage.catalog.image_bytes import withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.views import Catalog
from phimage.chunks.memory import MemoryStore
from phimage.model.image import State
from phimage.model.job import Job, JobState
from phimage.publishing.worker import Pace
from phimage.sources.address_policy import read_address_policy
from phimage.sources.response import HttpTimeouts
from phimage.sources.retry import Retry
from tests.publishing.shop import AUTHOR, MIB, Shop, disk, image
from tests.unit.sources.server import Exchange, FileServed, Handler, Server, wait_for

WITHIN_SECONDS = 60.0
PATIENT = HttpTimeouts(connect=600, head=600, stall=600)
"""Those of a fetch that ends by itself only long after a minute."""
HASTE = HttpTimeouts(connect=0.5, head=0.5, stall=0.5)
STALLS = HttpTimeouts(connect=60, head=60, stall=0.5)
REACHABLE = read_address_policy(["127.0.0.0/8"], [])


def hang_before_the_header(exchange: Exchange) -> None:
    exchange.hold()


def hang_in_the_middle(exchange: Exchange) -> None:
    exchange.answer(200, bytes(1000), length=100 * MIB)
    exchange.hold()


def trickle(exchange: Exchange) -> None:
    exchange.answer(200, b"", length=100 * MIB)
    exchange.drip(bytes(1000), pause=1.0)


HANGING: dict[str, Handler] = {
    "before the header": hang_before_the_header,
    "in the middle": hang_in_the_middle,
    "a byte a second": trickle,
}
hanging = pytest.mark.parametrize(
    "handler",
    [
        pytest.param(handler, marks=pytest.mark.more if place else (), id=name)
        for place, (name, handler) in enumerate(HANGING.items())
    ],
)


NewShop = Callable[..., Shop]


@pytest.fixture
def new_shop(catalog: Catalog, tmp_path: Path) -> NewShop:
    def new(times: HttpTimeouts | None, retry: Retry | None = None, now: Callable[[], float] = time.time) -> Shop:
        pace = Pace(lease=30, look=0.02)
        return Shop(catalog, MemoryStore(), tmp_path / "work", pace, REACHABLE, now, times=times, retry=retry)

    return new


@contextmanager
def working(shop: Shop) -> Iterator[None]:
    """The only publisher, at work."""
    thread = threading.Thread(target=shop.worker.run)
    thread.start()
    try:
        yield
    finally:
        shop.stop.set()
        thread.join()


def is_fetching(shop: Shop, job: Job, server: Server) -> Callable[[], bool]:
    return lambda: bool(server.requests) and shop.job(job.id).state is JobState.RUNNING


@hanging
def test_another_job_is_published_while_a_source_hangs_and_the_hanging_one_is_given_up(
    new_shop: NewShop, tmp_path: Path, handler: Handler
) -> None:
    clock = [time.time()]
    shop = new_shop(HASTE, Retry(tries=3, first=1), lambda: clock[0])

    def is_given_up() -> bool:
        clock[0] += 1  # after a failure it waits for that
        return shop.job(hung.id).state is JobState.FAILED

    with Server(handler) as server:
        hung = shop.begin_url(server.url())
        other = shop.begin(disk(tmp_path), 2)
        with working(shop):
            assert wait_for(lambda: shop.job(other.id).state is JobState.DONE)
            assert shop.job(hung.id).unfinished
            assert wait_for(is_given_up)
    assert len(server.requests) == 3
    assert "3 times in a row" in shop.job(hung.id).error
    assert shop.image(hung.image).state is State.UNAVAILABLE


@hanging
def test_withdrawing_an_image_whose_source_hangs_frees_the_publisher(
    new_shop: NewShop, tmp_path: Path, handler: Handler
) -> None:
    shop = new_shop(PATIENT)
    with Server(handler) as server:
        hung = shop.begin_url(server.url())
        with working(shop):
            assert wait_for(is_fetching(shop, hung, server))
            other = shop.begin(disk(tmp_path), 2)
            with shop.catalog.change(AUTHOR) as change:
                withdraw_image_bytes(change, [hung.image], "withdrawn")
                IMAGES.withdraw(change, image(1))
            assert wait_for(lambda: shop.job(other.id).state is not JobState.QUEUED)
            assert wait_for(lambda: shop.job(other.id).state is JobState.DONE)
    assert shop.job(hung.id).error == "withdrawn"


def test_a_publisher_whose_source_hangs_stops_at_once_and_its_job_goes_on_later(new_shop: NewShop) -> None:
    shop = new_shop(PATIENT)
    with Server(hang_before_the_header) as server:
        hung = shop.begin_url(server.url())
        with working(shop):
            assert wait_for(is_fetching(shop, hung, server))
            stopped = time.monotonic()
    assert time.monotonic() - stopped <= WITHIN_SECONDS
    assert shop.job(hung.id).state is JobState.QUEUED


def test_a_checksum_file_that_hangs_postpones_the_job(new_shop: NewShop) -> None:
    shop = new_shop(STALLS)
    with Server(hang_in_the_middle) as server:
        job = shop.begin_url(server.url(), checksum_url=server.url("/SHA256SUMS"))
        postponed = shop.work_once()
    assert (postponed.state, postponed.failures) == (JobState.QUEUED, 1)
    assert "/SHA256SUMS" in postponed.error
    assert shop.image(job.image).state is State.MAKING


def test_a_source_that_breaks_after_some_bytes_is_asked_again_at_once(new_shop: NewShop, tmp_path: Path) -> None:
    content = disk(tmp_path).read_bytes()
    shop = new_shop(None)
    with Server(FileServed(content, cuts=[2 * MIB])) as server:
        job = shop.begin_url(server.url())
        assert shop.work_once().state is JobState.DONE
    assert shop.job(job.id).fence == 1
    assert shop.bytes_of(job.image) == content


def test_a_source_that_was_refused_is_fetched_again_by_the_same_request(new_shop: NewShop, tmp_path: Path) -> None:
    """Its owner may have put a good file in its place, as the reason says."""
    content = disk(tmp_path).read_bytes()
    packed = gzip.compress(content, 1)
    handlers: Iterator[Handler] = iter([FileServed(packed[:-100]), FileServed(packed)])
    shop = new_shop(None, None)
    with Server(lambda exchange: next(handlers)(exchange)) as server:
        shop.begin_url(server.url(), 1, token="same")
        assert "get the whole file again" in shop.work_once().error
        again = shop.begin_url(server.url(), 2, token="same")
        assert shop.work_once().error == ""
    assert shop.bytes_of(again.image) == content


@pytest.mark.more
def test_bytes_that_came_before_a_source_hung_are_kept_and_its_failures_forgotten(new_shop: NewShop, tmp_path: Path) -> None:
    content = disk(tmp_path).read_bytes()
    handlers: Iterator[Handler] = iter([trickle, trickle, FileServed(content, cuts=[2 * MIB]), trickle, FileServed(content)])
    shop = new_shop(STALLS, Retry(first=0.0))
    with Server(lambda exchange: next(handlers)(exchange)) as server:
        job = shop.begin_url(server.url())
        failures = [shop.work_once().failures for _ in range(3)]
        assert shop.work_once().state is JobState.DONE
    assert failures == [1, 2, 1]
    assert server.requests[-1].start == 2 * MIB
    assert shop.bytes_of(job.image) == content
