"""Originals that are not what was promised (T6), through the real server: none becomes an image, none leaves anything.

What is told before the end (a part, the completion) leaves an upload that can still be put right.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import urllib3

from phimage.catalog import jobs
from phimage.chunks.uploads import PART, leftovers
from phimage.errors import Refused
from phimage.model.ids import ImageId
from phimage.model.image import State
from phimage.model.job import Job, JobState
from tests.publishing.shop import disk
from tests.torture.installation import Installation, eventually

_numbers = count(1)


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Upload:
    """One publication as a client of the API would do it, or do it wrongly."""

    def __init__(self, installation: Installation, good: bytes, *, digest: str = "", size: int = 0) -> None:
        self.installation = installation
        self.good = good
        number = next(_numbers)
        given: dict[str, Any] = {
            "ImageType": "Base",
            "Name": f"original {number}",
            "OsType": "Debian",
            "OsName": "Debian 12",
            "Zone": ["cn-bj2-02"],
            "Support": ["DB-2"],
            "Size": size,
            **({"TrustFirstUse": True} if digest == "trust" else {"Digest": digest or sha256(good)}),
        }
        begun = self.call("PublishPHostImage", **given)
        self.image = ImageId(begun["ImageId"])
        self.url = begun["UploadUrl"]

    def call(self, action: str, **given: Any) -> dict[str, Any]:
        with self.installation.client() as client:
            return client.call(action, **given).fields

    def put(self, number: int, data: bytes, digest: bytes | None = None) -> int:
        """Put a part. The HTTP status of the answer."""
        told = base64.b64encode(digest or hashlib.sha256(data).digest()).decode()
        where = self.url.replace("?", f"/{number}?")
        fields = {"Content-Digest": f"sha-256=:{told}:"}
        return urllib3.request("PUT", where, body=data, headers=fields, retries=False, timeout=60).status

    def put_all(self, data: bytes) -> None:
        """Put all parts of a file."""
        for number, start in enumerate(range(0, len(data), PART)):
            assert self.put(number, data[start : start + PART]) == 201

    def complete(self, size: int, sent: str = "") -> None:
        """Declare the upload complete. Raises Refused."""
        self.call("CompletePHostImageUpload", ImageId=self.image, Size=size, Digest=sent or None)

    def ended(self) -> Job:
        """The job when it has ended."""
        eventually(lambda: not self.job().unfinished, "the job does not end")
        return self.job()

    def job(self) -> Job:
        """The job as it is now."""
        with self.installation.catalog.database.read() as connection:
            found = jobs.newest_of(connection, self.image)
        assert found is not None
        return found

    def check_no_image(self, reason: str) -> None:
        """The job ends with a reason, the image without bytes, the upload is gone."""
        ended = self.ended()
        assert (ended.state, reason in ended.error) == (JobState.FAILED, True), ended
        content, image = self.installation.contents()[self.image], self.installation.image(self.image)
        assert image is not None
        assert (image.state, content.stored, content.failure) == (State.UNAVAILABLE, False, ended.error)
        eventually(lambda: ended.id not in leftovers(self.installation.store), "parts are left")

    def check_published(self) -> None:
        """The image has its bytes."""
        assert self.ended().error == ""
        image = self.installation.image(self.image)
        assert image is not None
        assert image.state is State.AVAILABLE
        assert self.installation.contents()[self.image].source_digest == sha256(self.good)

    def check_can_be_put_right(self, size: int) -> None:
        """Nothing was decided: with the right parts it is published."""
        assert self.job().state is JobState.WAITING
        self.put_all(self.good)
        self.complete(size)
        self.check_published()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One for all tests of this file, of which nothing is left but images of the good original."""
    with Installation(tmp_path_factory.mktemp("wrong")) as found:
        found.start()
        yield found
        eventually(lambda: not leftovers(found.store), "parts are left")
        assert not list(found.store.list("uploads"))
        assert list((found.data / "work").glob("*")) == []
        assert len({content.sha256 for content in found.contents().values() if content.stored}) <= 1


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A disk of two parts and a short one, all of them different."""
    return disk(tmp_path_factory.mktemp("original"), mebibytes=36).read_bytes()


def flipped(data: bytes, place: int) -> bytes:
    """The same with one other bit."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def parts_of(data: bytes) -> tuple[bytes, bytes, bytes]:
    return data[:PART], data[PART : 2 * PART], data[2 * PART :]


VARIANTS: dict[str, Callable[[bytes], bytes]] = {
    "a sector is missing at its end": lambda data: data[:-512],
    "a byte is missing at its end": lambda data: data[:-1],
    "a byte more": lambda data: data + b"\0",
    "a part more": lambda data: data + data[:PART],
    "a whole part is missing at its end": lambda data: data[: 2 * PART],
    "two parts are swapped": lambda data: parts_of(data)[1] + parts_of(data)[0] + parts_of(data)[2],
    "a part came twice in the place of another": lambda data: parts_of(data)[0] * 2 + parts_of(data)[2],
    "its first bit": lambda data: flipped(data, 0),
    "its last bit": lambda data: flipped(data, len(data) - 1),
    "a bit in the middle": lambda data: flipped(data, len(data) // 2),
    "compressed, with the digest of what is inside": lambda data: gzip.compress(data, 1),
    "a disk of zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_an_original_that_is_not_the_promised_one_becomes_no_image(
    installation: Installation, good: bytes, variant: str
) -> None:
    wrong = VARIANTS[variant](good)
    upload = Upload(installation, good)
    upload.put_all(wrong)
    upload.complete(len(wrong))
    # A disk that ends before its partitions do is refused for that, before it is read whole.
    upload.check_no_image("disk.truncated" if "missing" in variant else sha256(good))


def test_a_part_that_was_put_again_with_other_bytes_counts_as_it_was_put_last(installation: Installation, good: bytes) -> None:
    other = flipped(good[:PART], 5)
    wrong, right = Upload(installation, good), Upload(installation, good)
    wrong.put_all(good)
    assert wrong.put(0, other) == 201
    assert right.put(0, other) == 201
    right.put_all(good)
    wrong.complete(len(good))
    right.complete(len(good))
    wrong.check_no_image(sha256(good))
    right.check_published()


def test_bytes_that_are_not_those_that_their_sender_sent_become_no_image(installation: Installation, good: bytes) -> None:
    upload = Upload(installation, good, digest="trust")
    upload.put_all(flipped(good, 3))
    upload.complete(len(good), sent=sha256(good))
    upload.check_no_image("declared by its sender")


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_an_upload_without_one_of_its_parts_is_not_complete_and_can_be_put_right(
    installation: Installation, good: bytes, missing: int
) -> None:
    upload = Upload(installation, good, size=len(good))
    for number, part in enumerate(parts_of(good)):
        if number != missing:
            assert upload.put(number, part) == 201
    with pytest.raises(Refused, match=f"missing: {missing}"):
        upload.complete(len(good))
    upload.check_can_be_put_right(len(good))


def test_an_upload_of_another_size_than_its_parts_is_not_complete_and_can_be_put_right(
    installation: Installation, good: bytes
) -> None:
    upload = Upload(installation, good)
    with pytest.raises(Refused, match="missing"):
        upload.complete(len(good))  # nothing came at all
    with pytest.raises(Refused):
        upload.complete(0)
    upload.put_all(good)
    for size in (len(good) - 1, len(good) + 1, PART, 10 * PART):
        with pytest.raises(Refused, match="parts"):
            upload.complete(size)
    upload.check_can_be_put_right(len(good))


def test_a_part_that_is_not_what_its_digest_says_is_not_kept(installation: Installation, good: bytes) -> None:
    upload = Upload(installation, good)
    assert upload.put(0, flipped(good[:PART], 7), hashlib.sha256(good[:PART]).digest()) == 400
    assert upload.put(0, b"") == 400
    assert upload.put(0, good[: PART + 1]) in (400, 413)
    assert upload.job().id not in leftovers(installation.store)
    upload.check_can_be_put_right(len(good))


@pytest.mark.parametrize("name", ["sha512", "sha256"])
def test_a_digest_is_a_number_whatever_the_algorithm_and_the_letters(
    installation: Installation, good: bytes, name: str
) -> None:
    digits = hashlib.new(name, good).hexdigest()
    upload = Upload(installation, good, digest=f"{name.upper()}:{digits.upper()}")
    upload.put_all(good)
    upload.complete(len(good))
    upload.check_published()
    wrong = Upload(installation, good, digest=f"{name}:{digits[::-1]}")
    wrong.put_all(good)
    wrong.complete(len(good))
    wrong.check_no_image(f"{name}:{digits[::-1]}")


@pytest.mark.parametrize(
    "digest",
    [
        f"sha512:{'1' * 64}",
        f"sha256:{'1' * 63}",
        f"sha256:{'g' * 64}",
        f"md5:{'1' * 32}",
        f"sha1:{'1' * 40}",
        sha256(b""),
        "1234",
    ],
)
def test_what_is_no_digest_begins_nothing(installation: Installation, good: bytes, digest: str) -> None:
    before = installation.contents()
    with pytest.raises(Refused, match="Digest"):
        Upload(installation, good, digest=digest)
    assert installation.contents() == before
