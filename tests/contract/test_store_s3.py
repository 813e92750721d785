"""What only S3 can show: addresses and keys from the environment, refusals, an unreachable server, leftovers."""

from __future__ import annotations

import time
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import S3Store as Remote

from phimage.chunks.errors import Absent, StoreFailure
from phimage.chunks.factory import open_store
from phimage.chunks.folder import FolderStore
from phimage.chunks.object_store import BucketAddress, Credentials, S3Store
from phimage.errors import SetupError
from tests.contract import stores
from tests.contract.stores import BUCKET, CREDENTIALS, S3Server

s3 = stores.s3


def remote(place: BucketAddress) -> Remote:
    return Remote(
        BUCKET,
        prefix=place.prefix,
        endpoint=place.endpoint,
        region=place.region,
        access_key_id=CREDENTIALS.access_key,
        secret_access_key=CREDENTIALS.secret_key,
        client_options={"allow_http": True},
    )


def test_an_address_and_the_usual_variables_open_a_store(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    place = s3.new_place()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS.secret_key)
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    store = open_store(f"s3://{BUCKET}/{place.prefix}?endpoint={place.endpoint}")
    store.put("a/b", b"1")

    assert S3Store(place, CREDENTIALS).get("a/b") == b"1"
    assert obstore.head(remote(BucketAddress(BUCKET, "", place.endpoint, "us-east-1")), f"{place.prefix}/a/b")["size"] == 1


def test_wrong_keys_are_told_as_such(s3: S3Server) -> None:
    store = S3Store(s3.new_place(), Credentials(CREDENTIALS.access_key, "wrong"))

    for call in (lambda: store.put("a", b"1"), lambda: store.get("a"), lambda: list(store.list())):
        with pytest.raises(StoreFailure) as raised:
            call()
        assert raised.value.reason == "not permitted"
        assert not raised.value.passing
        assert "wrong" not in str(raised.value)


def test_a_bucket_that_is_not_there_is_a_failure_and_not_an_empty_store(s3: S3Server) -> None:
    place = s3.new_place()
    store = S3Store(BucketAddress("nothing-here", "a", place.endpoint, place.region), CREDENTIALS)

    with pytest.raises(StoreFailure, match="bucket") as raised:
        store.get("a")
    assert not raised.value.passing


def test_a_server_that_is_away_is_a_failure_that_may_pass() -> None:
    store = S3Store(BucketAddress(BUCKET, "a", "http://127.0.0.1:1", "us-east-1"), CREDENTIALS)

    for call in (lambda: store.put("a", b"1"), lambda: store.get("a"), lambda: store.find("a"), lambda: list(store.list())):
        with pytest.raises(StoreFailure) as raised:
            call()
        assert raised.value.reason == "unreachable"
        assert raised.value.passing


def test_what_a_refresh_left_behind_is_tidied_and_never_listed(s3: S3Server) -> None:
    place = s3.new_place()
    store, other = S3Store(place, CREDENTIALS), s3.new_store()
    for found in (store, other):
        found.put("a", b"1")
    obstore.put(remote(place), ".tmp/left", b"half")

    assert [found.name for found in store.list()] == ["a"]
    assert store.tidy(time.time() - 3600) == 0
    assert other.tidy(time.time() + 3600) == 0
    assert store.tidy(time.time() + 3600) == 1
    assert store.tidy(time.time() + 3600) == 0
    with pytest.raises(FileNotFoundError):
        obstore.head(remote(place), ".tmp/left")
    assert store.get("a") == b"1"


def test_a_path_opens_a_folder_and_one_that_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / "new" / "store"))
    assert isinstance(store, FolderStore)
    store.put("a", b"1")
    assert (tmp_path / "new" / "store" / "a").read_bytes() == b"1"

    monkeypatch.chdir(tmp_path)
    assert open_store("new/store").get("a") == b"1"
    with pytest.raises(Absent):
        open_store("./other").get("a")
    with pytest.raises(SetupError):
        open_store("new/store/a/b")


def test_a_server_that_refuses_to_delete_many_is_asked_one_by_one(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = s3.new_store()
    for name in ("a/1", "a/2"):
        store.put(name, b"1")
    delete = obstore.delete

    def one(remote: Remote, paths: str | list[str]) -> None:
        if not isinstance(paths, str):
            raise GenericError("status code: 501 Not Implemented")
        delete(remote, paths)

    monkeypatch.setattr(obstore, "delete", one)

    assert sorted(store.delete_old(["a/1", "a/2"], time.time() + 10)) == ["a/1", "a/2"]
    assert list(store.list()) == []
