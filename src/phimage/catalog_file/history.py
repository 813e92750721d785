"""The history of the ids in a file: an id that comes back means the same image with the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog.engine import Connection
from phimage.catalog.image_bytes import last_image_bytes
from phimage.catalog.images import images_at, last_images, once_given
from phimage.catalog.revisions import head
from phimage.catalog_file.conversion import normalized
from phimage.catalog_file.difference import Difference, FieldChange, restored
from phimage.catalog_file.document import Document
from phimage.model.ids import ImageId, ManifestDigest
from phimage.model.image import Image, ImageType
from phimage.model.image_bytes import ImageBytes, image_size, in_target_state

IsStored = Callable[[ManifestDigest], bool]
"""Whether the store still has the bytes of a manifest, by its digest."""


def nothing_stored(digest: ManifestDigest) -> bool:
    """The `IsStored` of an empty store."""
    return False


class IdHistory(Struct, frozen=True):
    """The history of the ids in a file.

    `once_given` has the types of those ids that are or were given to an image and that no living image of the file has.
    `images` are the withdrawn base images among the file's images, in their last state. `image_bytes` is the last state of the
    bytes of images that have none now.
    """

    once_given: Mapping[ImageId, ImageType]
    images: Mapping[ImageId, Image]
    image_bytes: Mapping[ImageId, ImageBytes]

    def restorable(self, is_stored: IsStored) -> dict[ImageId, ImageBytes]:
        """The bytes of withdrawn images that the store still has."""
        last = {id: bytes_ for id, bytes_ in self.image_bytes.items() if id in self.images and bytes_.stored}
        return {id: bytes_ for id, bytes_ in last.items() if is_stored(bytes_.manifest)}

    def restoration(self, image: Image, image_bytes: ImageBytes | None, *, has_source: bool) -> Difference:
        """The difference for a withdrawn image that the file names again. `image_bytes` are its bytes if they are restored."""
        last = self.image_bytes.get(image.id)
        if image_bytes is not None:
            image = replace(image, size=image.size or image_size(image_bytes.size))
            before, after = "in the store", "restored"
        else:
            before = "collected" if last is not None and last.stored else "none"
            after = "from its source" if has_source else "none"
        fields = (FieldChange("bytes", before, after),) if before != after else ()
        return restored(normalized(in_target_state(self.images[image.id], last)), image, *fields)


def history_of(
    connection: Connection, document: Document, living: Collection[ImageId], with_bytes: Collection[ImageId]
) -> IdHistory:
    """The history of a file's ids. `with_bytes` are the living images that have bytes or wait for them."""
    new = {ImageId(doc.id) for doc in document.images} - set(living)
    successors = {ImageId(doc.successor) for doc in document.images if doc.successor}
    sourced = {ImageId(doc.id) for doc in document.images if doc.source} - set(with_bytes)
    once = once_given(connection, new | successors)
    images = last_images(connection, [id for id in new if once.get(id) is ImageType.BASE])
    return IdHistory(once, images, last_image_bytes(connection, images.keys() | sourced))


def restorable_manifests(connection: Connection, document: Document | None) -> list[ManifestDigest]:
    """The manifests of withdrawn images that a file names again, whether the store has them or not."""
    if document is None:
        return []
    living = {image.id for image in images_at(connection, head(connection))}
    history = history_of(connection, document, living, with_bytes=living)
    return [image_bytes.manifest for image_bytes in history.restorable(lambda digest: True).values()]
