from __future__ import annotations

import pytest

from phimage.chunks.factory import bucket_address, open_store
from phimage.chunks.object_store import BucketAddress
from phimage.errors import SetupError


def test_an_s3_address_says_where_the_store_is() -> None:
    assert bucket_address("s3://images") == BucketAddress("images")
    assert bucket_address("s3://images/") == BucketAddress("images")
    assert bucket_address("s3://images/a/b/?region=eu-west-1") == BucketAddress("images", "a/b", "", "eu-west-1")
    assert bucket_address("s3://images/a?endpoint=http://127.0.0.1:8333&region=us-east-1") == BucketAddress(
        "images", "a", "http://127.0.0.1:8333", "us-east-1"
    )
    assert bucket_address("s3://my.images-1?endpoint=https%3A%2F%2Fs3.example.com") == BucketAddress(
        "my.images-1", "", "https://s3.example.com"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3:///a", "s3://UPPER", "s3://a", "s3://images#x", "s3://images:80/a", "s3://im_ages"),
        *("s3://images/A", "s3://images/../a", "s3://images/.a", "s3://images/a//b"),
        *("s3://images?endpoint=ftp://x", "s3://images?endpoint=localhost:8333", "s3://images?endpoint=http://"),
        "s3://images?endpoint=http://user:word@host",
        "s3://images?unknown=1",
    ],
)
def test_an_s3_address_that_is_wrong_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="PHIMAGE_STORE"):
        bucket_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIA:hidden@images",
        "s3://images?access_key_id=hidden",
        "s3://images?secret_access_key=hidden&region=x",
        "s3://images?AWS_SESSION_TOKEN=hidden",
    ],
)
def test_keys_in_an_address_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SetupError, match="AWS_SECRET_ACCESS_KEY") as raised:
        bucket_address(text)
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "http://images", "file:///tmp/x", "S3://images", "gs://images", "memory:x", "memory://"])
def test_what_is_no_store_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="PHIMAGE_STORE"):
        open_store(text)


def test_memory_and_s3_are_opened_without_asking_anyone() -> None:
    assert open_store("memory:").describe() == "memory"
    s3 = open_store("s3://images/a?endpoint=http://127.0.0.1:1&region=us-east-1")
    assert s3.describe() == "s3://images/a at http://127.0.0.1:1"
    assert s3.settle_seconds > 0
