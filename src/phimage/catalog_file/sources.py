"""Where a file says that the bytes of its images come from, beside what the catalogue knows of them.

A source is part of its image as an offer is of its machine type. Bytes that are here never change: another source for them is
a mistake, unless it has the same digest. A publication that failed begins anew with the next apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from phimage.catalog.image_bytes import IMAGE_BYTES, expect_image_bytes
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Change
from phimage.catalog_file.records import Records, Source
from phimage.model.ids import ImageId, RandomBytes, new_job_id
from phimage.model.image import NO_PROJECT, Image, State
from phimage.model.image_bytes import ImageBytes, in_target_state
from phimage.model.job import Origin, new_job


def sources_in(contents: Mapping[ImageId, ImageBytes], wanted: Records) -> dict[str, Source]:
    """The sources that the catalogue has of the images that have one in the file. One whose bytes are here is as the file gives
    it."""
    found: dict[str, Source] = {}
    for id, source in wanted["source"].items():
        assert isinstance(source, Source)
        content = contents.get(ImageId(id))
        if content is not None and content.stored:
            found[id] = source
        elif content is not None:
            found[id] = Source(content.image, content.source, content.source_digest, content.failure)
    return found


def replaced(content: ImageBytes | None, source: Source) -> bool:
    """Whether a source would give other bytes to an image that has its own."""
    return content is not None and content.stored and content.source_digest != source.digest


def given(images: Iterable[Image], contents: Mapping[ImageId, ImageBytes]) -> list[Image]:
    """Images as a file gives them: those that wait for their bytes are in the state that they get with them."""
    return [in_target_state(image, contents.get(image.id)) for image in images]


def held(change: Change, image: Image) -> Image:
    """An image as it is written: while its bytes are not here it stays in the state that it is in, whatever the file wants."""
    content = IMAGE_BYTES.find(change.connection, image.id)
    if content is None or content.stored:
        return image
    if content.target_state is not image.state:
        IMAGE_BYTES.put(change, replace(content, target_state=image.state))
    before = IMAGES.find(change.connection, image.id)
    return replace(image, state=before.state if before else State.MAKING)


def fetch(change: Change, source: Source, wanted: State, random: RandomBytes) -> None:
    """Let an image get its bytes from a source: it is Making, and a publisher has a job. The image is in the catalogue."""
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
    expect_image_bytes(change, job, wanted)
