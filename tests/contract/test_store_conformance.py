"""The contract of `phimage.chunks.store.Store`, on every store."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from phimage.chunks.errors import Absent, StoreFailure
from phimage.chunks.store import MAX_DELETED, MAX_OBJECT_BYTES, Store
from tests.contract import stores
from tests.contract.stores import CREDENTIALS, S3Server

s3, kind, new_store, store = stores.s3, stores.kind, stores.new_store, stores.store

NO_NAMES = [
    *("", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".tmp/a", "a/.b", "-a", "_a", "A", "a/B", "ä"),
    *("a b", "a\n", "a\x00", "a\\b", "a?b", "a#b", "a%2fb", "a:b", "~", "a" * 101, "/".join("abcdefghi")),
]


def names(store: Store, prefix: str = "") -> list[str]:
    return sorted(stored.name for stored in store.list(prefix))


# one object


@pytest.mark.parametrize("size", [0, 1, 4095, 65536, 1_000_003, 16 << 20])
def test_what_is_put_comes_back_as_it_was(store: Store, size: int) -> None:
    data = random.Random(size).randbytes(size)

    store.put("chunks/ab/object", data)

    assert store.get("chunks/ab/object") == data
    found = store.find("chunks/ab/object")
    assert found is not None
    assert (found.name, found.size) == ("chunks/ab/object", size)
    path = store.path("chunks/ab/object")
    assert path is None or path.read_bytes() == data


def test_what_was_never_put_is_absent(store: Store) -> None:
    store.put("a/b", b"1")

    for name in ("a", "b", "a/b/c", "a/bb", "x/y/z"):
        with pytest.raises(Absent) as raised:
            store.get(name)
        assert raised.value.name == name
        assert store.find(name) is None
        assert store.refresh(name, 0) is None
        assert store.refresh(name, time.time() + 1000) is None
        assert store.delete(name)
        assert store.delete(name, before=time.time() + 1000)
    assert store.get("a/b") == b"1"


def test_putting_again_replaces_the_whole_object(store: Store) -> None:
    for data in (b"long" * 1000, b"short", b"", b"again", b"again"):
        store.put("a/b", data)
        assert store.get("a/b") == data
        assert names(store) == ["a/b"]
        assert [stored.size for stored in store.list()] == [len(data)]


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.put("a/b", b"1")
    store.put("a/c", b"2")

    assert store.delete("a/b")
    assert store.delete("a/b")

    assert store.find("a/b") is None
    assert names(store) == ["a/c"]
    store.put("a/b", b"3")
    assert store.get("a/b") == b"3"


def test_a_batch_is_put_as_a_whole(store: Store) -> None:
    store.put("a/b", b"old")
    objects = [("a/b", b"new"), ("a/c/d", bytes(100_000)), ("e", b""), ("a/c/f", b"1"), ("g/h", b"2")]

    store.put_all(objects)
    store.put_all([])

    assert {name: store.get(name) for name in names(store)} == dict(objects)
    with pytest.raises(ValueError, match="name"):
        store.put_all([("fine", b"1"), ("/a", b"2")])
    with pytest.raises(StoreFailure, match="too large"):
        store.put_all([("i", bytes(MAX_OBJECT_BYTES + 1)), ("j", b"")])
    assert "i" not in names(store)


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_is_none_is_refused_by_every_call(store: Store, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.put(name, b""),
        lambda: store.get(name),
        lambda: store.find(name),
        lambda: store.refresh(name, 0),
        lambda: store.delete(name),
        lambda: store.delete_old([name], 0),
        lambda: store.path(name),
    ]
    if name:  # the empty prefix is the whole store
        calls.append(lambda: list(store.list(name)))
    for call in calls:
        with pytest.raises(ValueError, match="name"):
            call()


def test_an_object_over_the_limit_is_refused(store: Store) -> None:
    with pytest.raises(StoreFailure) as raised:
        store.put("a", bytes(MAX_OBJECT_BYTES + 1))
    assert raised.value.reason == "too large"
    assert not raised.value.passing
    assert names(store) == []


# age


def test_the_modification_time_is_never_earlier_than_the_put(store: Store) -> None:
    before = time.time()
    store.put("a", b"1")
    found = store.find("a")

    assert found is not None
    assert before - 1e-3 <= found.modified <= time.time() + 2
    assert [stored.modified for stored in store.list()] == pytest.approx([found.modified], abs=1)


def test_a_young_object_is_left_alone_and_an_old_one_becomes_young(store: Store, kind: str) -> None:
    store.put("a/b", b"data")
    first = store.find("a/b")
    assert first is not None
    assert store.refresh("a/b", first.modified - 1) == first

    time.sleep(1.1 if kind == "s3" else 0.02)  # S3 tells whole seconds
    now = time.time()
    refreshed = store.refresh("a/b", now)

    assert refreshed is not None
    assert refreshed.modified >= now - 1e-3
    assert refreshed == store.find("a/b")
    assert store.get("a/b") == b"data"
    assert names(store) == ["a/b"]


def test_only_what_is_older_is_deleted(store: Store) -> None:
    store.put("a", b"1")
    found = store.find("a")
    assert found is not None

    assert not store.delete("a", before=found.modified - 10)
    assert not store.delete("a", before=found.modified)
    assert store.get("a") == b"1"
    assert store.delete("a", before=found.modified + 0.01)
    assert store.find("a") is None


def test_of_many_only_those_that_are_older_are_deleted(store: Store, kind: str) -> None:
    old = [f"{folder}/{number:03}" for folder in ("a", "a/b", "c") for number in range(MAX_DELETED // 4)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.put(name, b"1"), [*old, "a/stays", "b"]))
    time.sleep(1.1 if kind == "s3" else 0.02)  # S3 tells whole seconds
    limit = max(stored.modified for stored in store.list()) + 0.01
    store.put("a/b/young", b"2")
    never = ["a/0000", "b/c", "never/put"]

    asked = ["a/b/young", *never, *old[::-1]]
    assert sorted(store.delete_old(asked, limit)) == sorted([*never, *old])

    assert names(store) == ["a/b/young", "a/stays", "b"]
    assert store.delete_old([], limit) == []


# many objects


def test_a_listing_has_everything_in_the_folder_and_below_and_nothing_else(store: Store) -> None:
    every = ["a/b/c", "a/b/d", "a/bb", "a/x.y-z_0", "ab/c", "b", "c/1/2/3/4/5/6/7"]
    for number, name in enumerate(every):
        store.put(name, bytes(number))

    assert names(store) == sorted(every)
    assert names(store, "a") == ["a/b/c", "a/b/d", "a/bb", "a/x.y-z_0"]
    assert names(store, "a/b") == ["a/b/c", "a/b/d"]
    assert names(store, "c/1/2") == ["c/1/2/3/4/5/6/7"]
    assert names(store, "nothing") == names(store, "a/b/c/d") == []
    assert {stored.name: stored.size for stored in store.list()} == {name: number for number, name in enumerate(every)}


def test_a_listing_of_more_than_a_page_is_complete(store: Store) -> None:
    every = [f"a/{number % 7}/{number}" for number in range(1234)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: store.put(name, b""), every))

    listed = [stored.name for stored in store.list("a")]

    assert len(listed) == len(every)
    assert set(listed) == set(every)


def test_what_is_deleted_or_put_during_a_listing_does_no_harm(store: Store) -> None:
    every = [f"a/{number % 3}/{number}" for number in range(60)]
    for name in every:
        store.put(name, b"1")

    listed = []
    for number, stored in enumerate(store.list("a")):
        listed.append(stored.name)
        store.delete(every[number])
        store.put(f"a/{number % 3}/new{number}", b"2")

    assert set(every) - set(listed) <= set(every[: len(listed)])  # only what was deleted may be absent
    assert len(set(listed)) == len(listed)
    put = {f"a/{number % 3}/new{number}" for number in range(len(listed))}
    assert set(names(store, "a")) == put | set(every[len(listed) :])


# many threads


def test_nobody_ever_sees_a_part_of_an_object(store: Store, kind: str) -> None:
    versions = {sha256(data).digest() for data in (bytes([number]) * (300_000 + 70_000 * number) for number in range(4))}
    over, have_read = threading.Event(), set[int]()

    def write(number: int) -> None:
        while not over.is_set():
            store.put("a/b", bytes([number]) * (300_000 + 70_000 * number))

    def read(number: int) -> None:
        while not over.is_set():
            try:
                assert sha256(store.get("a/b")).digest() in versions
                have_read.add(number)
            except Absent:
                assert kind != "memory" or number not in have_read
            assert names(store) in ([], ["a/b"])

    with ThreadPoolExecutor(6) as pool:
        writing = [pool.submit(write, number) for number in range(4)]
        reading = [pool.submit(read, number) for number in range(2)]
        ends = time.monotonic() + 60
        while len(have_read) < 2 and time.monotonic() < ends and not any(task.done() for task in reading):
            time.sleep(0.02)
        time.sleep(0.3)
        over.set()
        for task in (*reading, *writing):
            task.result(60)
    assert len(have_read) == 2


def test_threads_do_not_disturb_each_other(store: Store) -> None:
    def work(number: int) -> None:
        data = bytes([number]) * 5000
        for turn in range(8):
            name = f"a/{number}/{turn}"
            store.put(name, data)
            assert store.get(name) == data
            store.put("shared/object", b"the same")
            if turn % 2:
                assert store.delete(name)
                assert store.find(name) is None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert names(store) == sorted([f"a/{number}/{turn}" for number in range(8) for turn in (0, 2, 4, 6)] + ["shared/object"])


def test_an_object_that_is_refreshed_while_it_is_removed_for_its_age_either_stays_or_is_known_to_be_gone(
    store: Store,
) -> None:
    if store.settle_seconds:
        pytest.skip("looking and removing are two steps there; test_store_collect has what follows from it")
    for number in range(40):
        store.put(f"a/{number}", b"1")
    time.sleep(0.05)
    limit = time.time()

    with ThreadPoolExecutor(2) as pool:
        for number in range(40):
            name = f"a/{number}"
            removed = pool.submit(store.delete_old, [name], limit)
            refreshed = pool.submit(store.refresh, name, limit)
            assert (removed.result(60) == [name]) == (refreshed.result(60) is None) == (store.find(name) is None)


def test_of_many_that_are_refreshed_while_they_are_removed_each_stays_or_is_known_to_be_gone(store: Store) -> None:
    if store.settle_seconds:
        pytest.skip("looking and removing are two steps there; test_store_collect has what follows from it")
    many = [f"a/{number:03}" for number in range(MAX_DELETED)]
    for _ in range(4):
        store.put_all([(name, b"1") for name in many])
        time.sleep(0.02)
        limit = time.time()

        with ThreadPoolExecutor(4) as pool:
            refreshed = pool.map(lambda name, limit=limit: store.refresh(name, limit), many)
            removed = store.delete_old(many, limit)
            gone = {name for name, found in zip(many, refreshed, strict=True) if found is None}

        assert set(removed) == gone == {name for name in many if store.find(name) is None}


# the rest


def test_tidying_an_idle_store_removes_nothing(store: Store) -> None:
    store.put("a/b", b"1")

    assert store.tidy(time.time() + 1000) == 0
    store.sync(["a/b", "never/put"])
    assert store.get("a/b") == b"1"


def test_free_space_is_a_number_or_unknown(store: Store, kind: str) -> None:
    free = store.free_bytes()

    assert free is None if kind != "folder" else free is not None and free > 0


def test_a_store_tells_where_it_is_and_no_secret(store: Store, kind: str) -> None:
    told = store.describe()

    assert {"memory": "memory", "wrapped": "memory", "folder": "folder /", "s3": "s3://images/tests/"}[kind] in told
    assert CREDENTIALS.secret_key not in told + repr(store) + repr(CREDENTIALS)


def test_two_stores_in_one_bucket_do_not_see_each_other(s3: S3Server) -> None:
    one, other = s3.new_store(), s3.new_store()

    one.put("a", b"1")

    assert other.find("a") is None
    assert names(other) == []
