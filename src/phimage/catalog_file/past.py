"""What the catalogue has known of the ids that a file names: an id that comes back is the same image with the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from msgspec import Struct
from msgspec.structs import replace

from phimage.catalog.engine import Connection
from phimage.catalog.image_bytes import last_image_bytes
from phimage.catalog.images import images_at, last_images, once_given
from phimage.catalog.revisions import head
from phimage.catalog_file.difference import Difference, FieldChange, restored
from phimage.catalog_file.document import Document
from phimage.catalog_file.records import settled
from phimage.model.ids import ImageId, ManifestDigest
from phimage.model.image import Image, ImageType
from phimage.model.image_bytes import ImageBytes, image_size, in_target_state

Stored = Callable[[ManifestDigest], bool]
"""Whether the store still has the bytes of a manifest, by its digest."""


def nothing_stored(digest: ManifestDigest) -> bool:
    """Without a store no bytes come back."""
    return False


class Past(Struct, frozen=True):
    """`once_given` are the types of ids that the file uses anew, `images` the withdrawn base images among them, as they were.
    `contents` is the last that was known of the bytes of images that have none now."""

    once_given: Mapping[ImageId, ImageType]
    images: Mapping[ImageId, Image]
    contents: Mapping[ImageId, ImageBytes]

    def returning(self, stored: Stored) -> dict[ImageId, ImageBytes]:
        """The bytes that come back with their images, because the store still has them."""
        found = {id: content for id, content in self.contents.items() if id in self.images and content.stored}
        return {id: content for id, content in found.items() if stored(content.manifest)}

    def comes_back(self, wanted: Image, content: ImageBytes | None, *, sourced: bool) -> Difference:
        """The difference of a withdrawn image that the file names again. `content` are its bytes, if they come back, too."""
        past = self.contents.get(wanted.id)
        if content is not None:
            wanted, had, has = replace(wanted, size=wanted.size or image_size(content.size)), "in the store", "restored"
        else:
            had, has = "collected" if past is not None and past.stored else "none", "from its source" if sourced else "none"
        fields = (FieldChange("bytes", had, has),) if had != has else ()
        return restored(settled(in_target_state(self.images[wanted.id], past)), wanted, *fields)


def past_of(connection: Connection, document: Document, living: Collection[ImageId], with_bytes: Collection[ImageId]) -> Past:
    """What is known of the ids of a file, beside the living images and those of them with bytes here or on their way."""
    new = {ImageId(doc.id) for doc in document.images} - set(living)
    sourced = {ImageId(doc.id) for doc in document.images if doc.source} - set(with_bytes)
    once = once_given(connection, new)
    images = last_images(connection, [id for id, kind in once.items() if kind is ImageType.BASE])
    return Past(once, images, last_image_bytes(connection, images.keys() | sourced))


def manifests_of_returning(connection: Connection, document: Document | None) -> list[ManifestDigest]:
    """The manifests of withdrawn images that a file names again."""
    if document is None:
        return []
    living = {image.id for image in images_at(connection, head(connection))}
    found = past_of(connection, document, living, with_bytes=living).returning(lambda digest: True)
    return [content.manifest for content in found.values()]
