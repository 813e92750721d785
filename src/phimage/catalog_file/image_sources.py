"""Sources of image bytes in a file, and what the catalogue has of the bytes.

A source is part of its image, as an offer is part of its machine type. The bytes of a published image never change: another
source is an error unless it has the same digest. The next apply retries a failed publication.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from phimage.catalog.image_bytes import IMAGE_BYTES, expect_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Change
from phimage.catalog_file.conversion import DeclaredSource, Records
from phimage.model.ids import ImageId, RandomBytes, new_job_id
from phimage.model.image import NO_PROJECT, Image, State
from phimage.model.image_bytes import ImageBytes, in_target_state
from phimage.model.job import Origin, new_job


def sources_in(image_bytes: Mapping[ImageId, ImageBytes], wanted: Records) -> dict[str, DeclaredSource]:
    """The catalogue's sources of the images that have one in the file. The source of a published image equals the file's."""
    sources: dict[str, DeclaredSource] = {}
    for id, source in wanted["source"].items():
        assert isinstance(source, DeclaredSource)
        known = image_bytes.get(ImageId(id))
        if known is not None and known.stored:
            sources[id] = source
        elif known is not None:
            sources[id] = DeclaredSource(known.image, known.source, known.source_digest, known.failure)
    return sources


def changes_bytes(image_bytes: ImageBytes | None, source: DeclaredSource) -> bool:
    """Whether a source has other bytes than the published ones of its image."""
    return image_bytes is not None and image_bytes.stored and image_bytes.source_digest != source.digest


def in_target_states(images: Iterable[Image], image_bytes: Mapping[ImageId, ImageBytes]) -> list[Image]:
    """Images as a file defines them: an image without its bytes has the state that its publication gives it."""
    return [in_target_state(image, image_bytes.get(image.id)) for image in images]


def in_stored_state(change: Change, image: Image) -> Image:
    """The image to write: without its bytes it keeps its present state, and the state in the file becomes the target."""
    image_bytes = IMAGE_BYTES.find(change.connection, image.id)
    if image_bytes is None or image_bytes.stored:
        return image
    if image_bytes.target_state is not image.state:
        IMAGE_BYTES.put(change, replace(image_bytes, target_state=image.state))
    before = IMAGES.find(change.connection, image.id)
    return replace(image, state=before.state if before else State.MAKING)


# docs/decisions.md#applying-again-retries-failed-sources
def queue_fetch(change: Change, source: DeclaredSource, target_state: State, random: RandomBytes) -> None:
    """Make an image of the catalogue Making, and queue the job that fetches its bytes."""
    image = IMAGES.find(change.connection, source.image)
    assert image is not None
    IMAGES.put(change, replace(image, state=State.MAKING))
    job = new_job(
        id=new_job_id(random),
        image=source.image,
        origin=Origin(url=source.url, digest=source.digest),
        created=change.author.time,
        project=NO_PROJECT,
        actor=change.author.actor,
    )
    expect_image_bytes(change, job, target_state)
