"""Sources in the catalogue file: an image gets its bytes from where the file says, and the file stays true afterwards."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from phimage.catalog import jobs
from phimage.catalog.image_bytes import image_bytes_at
from phimage.catalog.images import images_at
from phimage.catalog.places import topology_at
from phimage.catalog.revisions import Author, head
from phimage.catalog.views import Catalog
from phimage.catalog_file.export import export
from phimage.catalog_file.plan import Plan, apply_plan, plan
from phimage.chunks.memory import MemoryStore
from phimage.model.ids import ImageId
from phimage.model.image import NO_PROJECT, State
from phimage.model.job import Job, JobState
from phimage.sources.address_policy import read_address_policy
from tests.conftest import sqlite_first
from tests.publishing.shop import Shop, disk, image
from tests.unit.sources.server import FileServed, Server

dialect = sqlite_first

FILE = """\
phimage: 1
clusters:
  - {id: 10G, default: true}
regions:
  - id: north
    number: 1
    name: {zh: 北, en: North}
    default: true
    zones:
      - {id: north-a, name: {zh: A, en: A}}
machine_types:
  - id: DB-2
    name: {zh: 数据库型, en: Database}
    disk_class: LocalDisk
    cpu: {model: Intel, frequency: "2.1", count: 2, cores: 32}
    memory: 64
    offers:
      north-a: {10G: 1}
images:
  - id: pimg-cs-first
    name: Debian 12
    family: debian-12
    os_type: Debian
    os_name: Debian 12 64bit
    version: "12"
    size: 0
    created: "2026-11-01T00:00:00Z"
    zones: [north-a]
    support: {DB-2: [10G]}
"""
FIRST = ImageId("pimg-cs-first")
OTHER = "1" * 64
TIMES = count(1)


class Site:
    """A web server with one disk image, and what a file says about it."""

    def __init__(self, server: Server, content: bytes) -> None:
        self.url = server.url("/disk.raw.gz")
        self.sha256 = hashlib.sha256(content).hexdigest()

    def file(self, *lines: str, url: str = "", sha256: str = "") -> str:
        """The catalogue file, with the source and more lines in its image."""
        own = [f"source: {url or self.url}", f"sha256: {sha256 or self.sha256}", *lines]
        return FILE + "".join(f"    {line}\n" for line in own)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    content = gzip.compress(disk(tmp_path).read_bytes(), 1)
    with Server(FileServed(content)) as server:
        yield Site(server, content)


@pytest.fixture
def shop(catalog: Catalog, tmp_path: Path) -> Shop:
    """A publisher that may fetch from this machine."""
    return Shop(catalog, MemoryStore(), tmp_path / "work", policy=read_address_policy(["127.0.0.0/8"], []))


def planned(catalog: Catalog, text: str, *, prune: bool = False) -> Plan:
    with catalog.database.read() as connection:
        return plan(connection, head(connection), text, prune)


def apply(catalog: Catalog, text: str, *, prune: bool = False) -> list[str]:
    """Apply a file without errors. Returns what changed."""
    author = Author("operator/main key", "127.0.0.1", "request", "ApplyCatalog", float(next(TIMES)))
    with catalog.change(author) as change:
        made = plan(change.connection, change.parent, text, prune)
        assert made.errors == ()
        apply_plan(change, made)
    return named(made)


def named(made: Plan) -> list[str]:
    return [f"{one.verb} {one.noun} {one.id}" for one in made.differences]


def exported(catalog: Catalog) -> str:
    with catalog.database.read() as connection:
        at = head(connection)
        return export(topology_at(connection, at), images_at(connection, at), image_bytes_at(connection, at, NO_PROJECT))


def unfinished(catalog: Catalog) -> list[Job]:
    with catalog.database.read() as connection:
        return jobs.all_unfinished(connection)


def errors(catalog: Catalog, text: str) -> list[tuple[str, str, str]]:
    """Each with the text of its line."""
    lines = text.splitlines()
    return [(lines[one.line - 1].strip(), one.field, one.message) for one in planned(catalog, text).errors]


# a new image


def test_an_image_with_a_source_is_making_and_a_publisher_has_one_job(shop: Shop, site: Site) -> None:
    done = apply(shop.catalog, site.file())

    assert done[-2:] == ["added image pimg-cs-first", "added source pimg-cs-first"]
    assert shop.image(FIRST).state is State.MAKING
    (job,) = unfinished(shop.catalog)
    assert (job.image, job.state, job.origin.url) == (FIRST, JobState.QUEUED, site.url)
    assert job.origin.digest == f"sha256:{site.sha256}"


def test_the_same_file_makes_no_difference_before_and_after_the_bytes_are_here(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file())
    assert named(planned(shop.catalog, site.file())) == []
    assert apply(shop.catalog, site.file()) == []

    assert shop.work_once().error == ""

    assert (shop.image(FIRST).state, shop.image(FIRST).size) == (State.AVAILABLE, 1)
    assert named(planned(shop.catalog, site.file())) == []
    assert apply(shop.catalog, site.file()) == []
    assert unfinished(shop.catalog) == []


def test_what_is_exported_makes_no_difference_before_and_after_the_bytes_are_here(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file())
    before = exported(shop.catalog)
    assert f"source: {site.url}" in before
    assert "Making" not in before
    assert named(planned(shop.catalog, before)) == []

    shop.work_once()

    after = exported(shop.catalog)
    assert named(planned(shop.catalog, after)) == []
    assert named(planned(shop.catalog, before)) == []
    assert after.replace("size: 1\n", "size: 0\n") == before


def test_a_size_is_kept_and_without_one_the_disks_is_taken(shop: Shop, site: Site) -> None:
    sized = site.file().replace("size: 0", "size: 20")
    apply(shop.catalog, sized)
    shop.work_once()
    assert shop.image(FIRST).size == 20
    assert named(planned(shop.catalog, sized)) == []
    assert named(planned(shop.catalog, site.file())) == []
    assert named(planned(shop.catalog, site.file().replace("size: 0", "size: 30"))) == ["changed image pimg-cs-first"]


def test_an_image_gets_the_state_that_the_file_wants_with_its_bytes(shop: Shop, site: Site) -> None:
    wanted = site.file("state: Unavailable")
    apply(shop.catalog, wanted)
    assert shop.image(FIRST).state is State.MAKING
    shop.work_once()
    assert shop.image(FIRST).state is State.UNAVAILABLE
    assert named(planned(shop.catalog, wanted)) == []
    assert apply(shop.catalog, site.file()) == ["changed image pimg-cs-first"]
    assert shop.image(FIRST).state is State.AVAILABLE
    assert unfinished(shop.catalog) == []


# a failure


def test_a_failure_shows_in_the_plan_and_the_next_apply_tries_again(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file(sha256=OTHER))
    ended = shop.work_once()
    assert (ended.state, shop.image(FIRST).state) == (JobState.FAILED, State.UNAVAILABLE)

    (again,) = planned(shop.catalog, site.file(sha256=OTHER)).differences
    assert (again.verb, again.noun) == ("changed", "source")
    assert [(change.field, change.old, change.new) for change in again.fields] == [("failure", ended.error, "")]

    assert apply(shop.catalog, site.file()) == ["changed source pimg-cs-first"]
    assert shop.image(FIRST).state is State.MAKING
    assert shop.content(FIRST).failure == ""
    assert shop.work_once().error == ""
    assert shop.image(FIRST).state is State.AVAILABLE
    assert named(planned(shop.catalog, site.file())) == []


def test_a_failed_image_that_the_file_changes_stays_unavailable_until_its_bytes_are_here(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file(sha256=OTHER))
    shop.work_once()
    assert apply(shop.catalog, FILE.replace("name: Debian 12", "name: Debian twelve")) == ["changed image pimg-cs-first"]
    assert (shop.image(FIRST).name, shop.image(FIRST).state) == ("Debian twelve", State.UNAVAILABLE)


# while the bytes are on their way


def test_a_pending_image_can_change_and_stays_making(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file())
    changed = site.file("deprecated: true", "description: old").replace("name: Debian 12", "name: Debian twelve")

    assert apply(shop.catalog, changed) == ["changed image pimg-cs-first"]

    pending = shop.image(FIRST)
    assert (pending.state, pending.deprecated, pending.name) == (State.MAKING, True, "Debian twelve")
    assert len(unfinished(shop.catalog)) == 1
    assert named(planned(shop.catalog, changed)) == []
    shop.work_once()
    ready = shop.image(FIRST)
    assert (ready.state, ready.deprecated, ready.name) == (State.AVAILABLE, True, "Debian twelve")


def test_another_source_takes_the_place_of_one_that_is_on_its_way(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file(url="https://images.example/other.raw", sha256=OTHER))
    (first,) = unfinished(shop.catalog)

    assert apply(shop.catalog, site.file()) == ["changed source pimg-cs-first"]

    (second,) = unfinished(shop.catalog)
    assert (second.id != first.id, second.origin.url) == (True, site.url)
    assert shop.job(first.id).error == "replaced by another publication"
    assert shop.work_once().state is JobState.DONE


def test_withdrawing_an_image_ends_its_job(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file())
    (job,) = unfinished(shop.catalog)
    without = FILE[: FILE.index("images:")]
    assert named(planned(shop.catalog, without)) == []

    assert apply(shop.catalog, without, prune=True) == ["withdrawn image pimg-cs-first"]

    assert unfinished(shop.catalog) == []
    assert shop.job(job.id).error == "the image was withdrawn"
    with shop.catalog.database.read() as connection:
        assert image_bytes_at(connection, head(connection), NO_PROJECT) == {}


# an image that is there already


def test_an_image_that_had_no_bytes_gets_them(shop: Shop, site: Site) -> None:
    apply(shop.catalog, FILE)
    assert apply(shop.catalog, site.file()) == ["added source pimg-cs-first"]
    assert shop.image(FIRST).state is State.MAKING
    shop.work_once()
    assert shop.image(FIRST).state is State.AVAILABLE


def test_a_file_may_leave_the_source_out_again(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file())
    shop.work_once()
    revision = shop.catalog.head
    assert apply(shop.catalog, FILE.replace("size: 0", "size: 1"), prune=True) == []
    assert shop.catalog.head == revision
    assert shop.content(FIRST).stored


def test_the_same_bytes_from_another_place_make_no_difference(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file())
    shop.work_once()
    assert apply(shop.catalog, site.file(url="https://mirror.example/disk.raw.gz")) == []


def test_an_uploaded_image_is_exported_without_a_source_and_without_a_family(shop: Shop, tmp_path: Path) -> None:
    apply(shop.catalog, FILE[: FILE.index("images:")])
    shop.begin(disk(tmp_path, seed=2), made=image(1))
    for _ in range(2):
        text = exported(shop.catalog)
        assert "source:" not in text
        made = planned(shop.catalog, text)
        assert (made.errors, made.differences) == ((), ())
        if unfinished(shop.catalog):
            assert shop.work_once().error == ""


# errors


def test_other_bytes_for_an_image_that_has_its_own_are_an_error(shop: Shop, site: Site) -> None:
    apply(shop.catalog, site.file())
    shop.work_once()
    text = site.file(sha256=OTHER)
    assert errors(shop.catalog, text) == [
        (
            f"source: {site.url}",
            "images[0].source",
            "this image is published and its bytes never change: publish others under a new id",
        )
    ]


@pytest.mark.parametrize(
    ("lines", "line", "field", "message"),
    [
        (["source: https://a.example/x"], "source: https://a.example/x", "source", "expected sha256 beside it"),
        ([f"sha256: {OTHER}"], f"sha256: {OTHER}", "sha256", "add the source too"),
        (["source: https://a.example/x", "sha256: ABC"], "sha256: ABC", "sha256", "expected"),
        (["source: ftp://a.example/x", f"sha256: {OTHER}"], "source: ftp://a.example/x", "source", "ftp"),
        (["source: http://u:p@a.example/x", f"sha256: {OTHER}"], "source: http://u:p@a.example/x", "source", ""),
        (
            ["source: https://a.example/x", f"sha256: {OTHER}", "state: Making"],
            "state: Making",
            "state",
            "expected the state after publication",
        ),
    ],
)
def test_a_source_that_cannot_be_is_an_error_with_its_line(
    lines: list[str], line: str, field: str, message: str, catalog: Catalog
) -> None:
    found = errors(catalog, FILE + "".join(f"    {one}\n" for one in lines))
    assert [(where, name) for where, name, _ in found] == [(line, f"images[0].{field}")]
    assert message in found[0][2]
    assert "u:p" not in found[0][2]
