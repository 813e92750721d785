"""The catalogue that the console is shown with: the demonstration, and what a real installation has besides it."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from phimage import demo
from phimage.catalog.accounts import NewKey
from phimage.catalog.image_bytes import QUOTAS
from phimage.catalog.images import IMAGES
from phimage.catalog.revisions import Author
from phimage.installation import open_catalog
from phimage.model.ids import ProjectId
from phimage.model.image_bytes import Quota
from phimage.settings import Settings


def fill(folder: Path) -> tuple[Settings, NewKey]:
    """A data folder with the demonstration, and the operator's key."""
    settings = Settings(data_dir=str(folder))
    demo.claim(folder)
    key = demo.fill(settings, has_operator_key=False)
    assert key is not None
    catalog = open_catalog(settings)
    try:
        with catalog.change(Author("operator/main", "127.0.0.1", "", "EditPHostImage", 1_790_000_000.0)) as change:
            images = {image.name: image for image in IMAGES.live(change.connection)}
            web = images["web-frontend"]
            IMAGES.put(change, replace(web, labels={"team": "web"}, description="the front end of the shop"))
            QUOTAS.put(change, Quota(ProjectId("org-default"), 60 << 30))
    finally:
        catalog.database.close()
    return settings, key


DEMO_KEY = NewKey(demo.PUBLIC_KEY, demo.PRIVATE_KEY)
"""The key of the demonstration's tenant."""
