"""Errors as responses with a status."""

from __future__ import annotations

import gzip

import msgspec
import pytest

from phimage.chunks.errors import BadChunk, BadManifest, StoreFailure
from phimage.delivery.authorizer import NotPublished, Purged
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
from phimage.http.response import HttpError, error_response, gzipped
from phimage.model.ids import ImageId
from phimage.uploads.authorizer import UploadClosed

IMAGE = ImageId("pimg-cs-xev4rz2k")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WrongSignature(), 401),
        (UnknownUser(), 401),
        (NotPermitted(), 403),
        (NotPermitted(http_status=401), 401),
        (AddressRefused(), 403),
        (UnavailableParam("ImageId", http_status=404), 404),
        (UnavailableParam("ProjectId"), 400),
        (MissingParam("ImageId"), 400),
        (UnknownProject("org-x"), 404),
        (RateLimited(), 429),
        (ServiceUnavailable(), 503),
        (NotPublished(IMAGE, "Making"), 409),
        (Purged(IMAGE), 410),
        (UploadClosed("the job is done"), 409),
        (BadChunk("m", "c", 3, 300, "corrupt", "why"), 500),
        (BadManifest("m", "why"), 500),
        (StoreFailure("get", "x", "unreachable", passing=True), 503),
        (StoreFailure("put", "x", "no space"), 507),
        (StoreFailure("get", "x", "input/output error"), 500),
        (HttpError(418, "A teapot", "ask a coffee pot"), 418),
    ],
)
def test_every_error_has_a_status_and_words(error: PhimageError, status: int) -> None:
    response = error_response(error, {"ImageId": IMAGE})
    body = msgspec.json.decode(response.body)

    assert response.status == status
    assert body["Message"]
    assert body["ImageId"] == IMAGE
    assert ("Retry-After" in response.headers) is (status in (429, 503))


def test_every_registered_request_error_is_an_http_error() -> None:
    for kind in REQUEST_ERRORS:
        assert 400 <= error_response(kind("x")).status < 600


def test_the_detail_of_a_store_failure_is_for_the_log_alone() -> None:
    response = error_response(StoreFailure("get", "x", "refused", "the bucket is phimage-7"))
    assert b"phimage-7" not in response.body


def test_a_bad_chunk_is_named() -> None:
    body = msgspec.json.decode(error_response(BadChunk("m", "ab" * 32, 3, 300, "corrupt", "why")).body)

    assert (body["Chunk"], body["Index"], body["Offset"]) == ("ab" * 32, 3, 300)


def test_an_image_without_bytes_states_its_state() -> None:
    assert msgspec.json.decode(error_response(NotPublished(IMAGE, "Making")).body)["State"] == "Making"


def test_an_error_that_no_client_may_see_is_raised() -> None:
    with pytest.raises(PhimageError):
        error_response(PhimageError("a mistake of ours"))


def test_an_http_error_keeps_its_header_fields() -> None:
    assert error_response(HttpError(405, "Method not allowed", headers={"Allow": "GET"})).headers == {"Allow": "GET"}


@pytest.mark.parametrize(
    ("accept", "packed"),
    [(b"gzip", True), (b"br, GZIP;q=0.5", True), (b"gzip;q=0", False), (b"gzip;q=0.000", False), (b"br", False), (b"", False)],
)
def test_content_is_gzipped_for_a_client_that_accepts_it(accept: bytes, packed: bool) -> None:
    content = gzipped(b"content", accept)
    assert (content is not None and gzip.decompress(content) == b"content") is packed
