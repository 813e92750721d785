"""What is answered when an image's bytes cannot be sent."""

from __future__ import annotations

from phimage.chunks.errors import BadChunk, BadManifest, StoreFailure
from phimage.delivery.errors import NotPublished, Purged
from phimage.errors import PhimageError, RequestError
from phimage.model.ids import ImageId
from phimage.refusal import Answer, again_later, of_request_error, refusal


def of_error(error: PhimageError, image: ImageId) -> Answer:
    """The answer to a request for an image's bytes that went wrong before the first byte."""
    about = {"ImageId": image}
    match error:
        case RequestError():
            return of_request_error(error, about)
        case NotPublished():
            detail = f"it is {error.state}; ask again when it is Available"
            return refusal(409, "Image not published", detail, {**about, "State": error.state})
        case Purged():
            return refusal(410, "Image withdrawn", "its bytes do not come back; choose another image", about)
        case BadChunk():
            detail = f"chunk {error.index} at offset {error.offset} is {error.kind}; tell the operator to verify the image"
            place = {"Chunk": error.chunk, "Index": error.index, "Offset": error.offset}
            return refusal(500, "Image damaged", detail, {**about, **place})
        case BadManifest():
            detail = "its manifest cannot be used; tell the operator to verify the image"
            return refusal(500, "Image damaged", detail, {**about, "Manifest": error.digest})
        case StoreFailure() if error.passing:
            return again_later("Store unavailable", "the store did not answer; ask again", about)
        case StoreFailure():
            return refusal(500, "Store failed", f"the store failed: {error.reason}; tell the operator", about)
        case _:
            raise error
