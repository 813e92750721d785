"""What a capture need not send: chunks that its project could read anyway, and no others."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from phimage.actions.authorizers import CatalogUploadAuthorizer
from phimage.actions.service import Service
from phimage.chunk_upload import manifest
from phimage.chunks.layout import CHUNK_SIZE
from phimage.model.ids import AccountId, JobId, ProjectId
from phimage.uploads.authorizer import Upload
from tests.api import small
from tests.api.publishing import ABOUT, Shop
from tests.api.signer import Pair
from tests.api.test_custom_chunks import CUSTOM, ask, needed
from tests.api.test_hosts import Rack
from tests.publishing.shop import disk


def captured(shop: Shop, project: str) -> str:
    """The upload URL of a capture for a project."""
    rack = Rack(shop)
    id, agent = rack.rescued(project)
    assert rack.capture(id, ProjectId=project).ret_code == 0
    order = agent.poll()
    assert order is not None
    return str(order["UploadUrl"])


def digests_of(raw: Path) -> list[bytes]:
    data = raw.read_bytes()
    pieces = [data[at : at + CHUNK_SIZE] for at in range(0, len(data), CHUNK_SIZE)]
    return [sha256(piece).digest() for piece in pieces if any(piece)]


@pytest.mark.parametrize(
    ("pair", "about", "foreign"),
    [
        (None, ABOUT, False),
        (small.ACME, {**CUSTOM, "ProjectId": "org-a"}, False),
        (small.ACME, {**CUSTOM, "ProjectId": "org-b"}, True),
        (small.RIVAL, {**CUSTOM, "ProjectId": "org-r"}, True),
    ],
    ids=["base image", "own image", "another project's image", "another account's image"],
)
def test_only_what_the_project_may_read_need_not_be_sent(
    shop: Shop, tmp_path: Path, pair: Pair | None, about: dict[str, Any], foreign: bool
) -> None:
    raw = disk(tmp_path, seed=7)
    url, digests = captured(shop, "org-a"), digests_of(raw)
    assert needed(shop, url, digests) == [True] * len(digests)
    shop.publish(raw, pair, **about)
    assert needed(shop, url, digests) == [foreign] * len(digests)
    size = len(digests) * CHUNK_SIZE
    status, fields = ask(shop, url, "POST", "seal", manifest(size, digests))
    assert (status, fields.get("Message", "")) == ((409, "Chunks missing") if foreign else (201, ""))


def test_the_image_on_the_host_comes_before_newer_ones(shop: Shop, tmp_path: Path) -> None:
    rack = Rack(shop)
    old, newer = (shop.publish(disk(tmp_path, seed=seed)) for seed in (8, 9))
    manifests = {image: content.manifest for image in (old, newer) if (content := shop.content(image))}
    authorizer = CatalogUploadAuthorizer(Service(catalog=shop.catalog, store=shop.store))
    found = []
    for installed in (newer, old):
        id, agent = rack.rescued()
        assert rack.reinstall(id, installed).ret_code == 0
        agent.poll()
        agent.report("commit", Finished=True, Receipt=agent.receipt())
        assert rack.capture(id).ret_code == 0
        order = agent.poll()
        assert order is not None
        shop.catalog.refresh()
        upload = Upload(JobId(order["JobId"]), 1 << 40, "org-a", AccountId("acme"), ProjectId("org-a"))
        found.append(authorizer.manifests(upload))
        rack.well("ReleaseHost", {"PHostId": id})
        agent.poll()
        agent.report("zero", Finished=True)
        rack.well("RemoveHost", {"PHostId": id})
    assert found == [[manifests[newer], manifests[old]], [manifests[old], manifests[newer]]]
