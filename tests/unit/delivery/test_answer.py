from __future__ import annotations

import msgspec
import pytest

from phimage.chunks.errors import BadChunk, BadManifest, StoreFailure
from phimage.delivery.answer import of_error
from phimage.delivery.errors import NotPublished, Purged
from phimage.errors import (
    REQUEST_ERRORS,
    AddressRefused,
    MissingParam,
    NotPermitted,
    PhimageError,
    RateLimited,
    ServiceUnavailable,
    UnavailableParam,
    UnknownProject,
    UnknownUser,
    WrongSignature,
)
from phimage.model.ids import ImageId

IMAGE = ImageId("pimg-cs-xev4rz2k")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WrongSignature(), 401),
        (UnknownUser(), 401),
        (NotPermitted(), 403),
        (AddressRefused(), 403),
        (UnavailableParam("ImageId"), 404),
        (UnavailableParam("ProjectId"), 400),
        (MissingParam("ImageId"), 400),
        (UnknownProject("org-x"), 404),
        (RateLimited(), 429),
        (ServiceUnavailable(), 503),
        (NotPublished(IMAGE, "Making"), 409),
        (Purged(IMAGE), 410),
        (BadChunk("m", "c", 3, 300, "corrupt", "why"), 500),
        (BadManifest("m", "why"), 500),
        (StoreFailure("get", "x", "unreachable", passing=True), 503),
        (StoreFailure("get", "x", "input/output error"), 500),
    ],
)
def test_every_error_has_a_status_and_words(error: PhimageError, status: int) -> None:
    answer = of_error(error, IMAGE)
    body = msgspec.json.decode(answer.body)

    assert answer.status == status
    assert body["Message"]
    assert body["ImageId"] == IMAGE
    assert ("Retry-After" in answer.headers) is (status in (429, 503))


def test_every_registered_request_error_is_an_http_error() -> None:
    for kind in REQUEST_ERRORS:
        assert 400 <= of_error(kind("x"), IMAGE).status < 600


def test_a_bad_chunk_is_named() -> None:
    body = msgspec.json.decode(of_error(BadChunk("m", "ab" * 32, 3, 300, "corrupt", "why"), IMAGE).body)

    assert (body["Chunk"], body["Index"], body["Offset"]) == ("ab" * 32, 3, 300)


def test_an_image_that_is_not_here_yet_says_its_state() -> None:
    assert msgspec.json.decode(of_error(NotPublished(IMAGE, "Making"), IMAGE).body)["State"] == "Making"


def test_other_errors_are_not_answers() -> None:
    with pytest.raises(PhimageError):
        of_error(PhimageError("a mistake of ours"), IMAGE)
