"""Uploads by chunks through the Actions: whose chunks an upload may rely on, and the image that comes of it."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from phimage.chunk_upload import FileDisk, manifest, send_disk
from phimage.chunks.layout import CHUNK_SIZE
from tests.api import small
from tests.api.gateway import LOOPBACK
from tests.api.publishing import ABOUT, Shop
from tests.api.signer import Pair
from tests.publishing.shop import disk, sha256_of

CUSTOM: dict[str, Any] = {**ABOUT, "ImageType": "Custom"}


def ask(shop: Shop, url: str, method: str, below: str, body: bytes, client: str = LOOPBACK) -> tuple[int, dict[str, Any]]:
    address, _, ticket = url.partition("?")
    digest = f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"
    answer = shop.gateway.fetch(method, f"{address}/{below}?{ticket}", [("Content-Digest", digest)], body, client=client)
    return answer.status, json.loads(answer.body)


def begin(shop: Shop, pair: Pair | None = None, **more: Any) -> tuple[str, str]:
    begun = shop.well("PublishPHostImage", {**ABOUT, "TrustFirstUse": True, **more}, pair)
    return begun["ImageId"], begun["UploadUrl"]


def needed(shop: Shop, url: str, chunks: list[bytes], client: str = LOOPBACK) -> list[bool]:
    status, fields = ask(shop, url, "POST", "need", b"".join(chunks), client)
    assert status == 200, fields
    bits = int.from_bytes(base64.b64decode(fields["Need"]), "little")
    return [bool(bits >> number & 1) for number in range(len(chunks))]


def first_chunk(path: Path) -> bytes:
    return sha256(path.read_bytes()[:CHUNK_SIZE]).digest()


def test_a_disk_is_sent_by_chunks_sealed_completed_and_published(shop: Shop, tmp_path: Path) -> None:
    raw = disk(tmp_path)
    image, url = begin(shop, small.ACME, ImageType="Custom", Digest=f"sha256:{sha256_of(raw)}", TrustFirstUse=None)

    def send(method: str, below: str, body: bytes) -> bytes:
        status, fields = ask(shop, url, method, below, body)
        assert status in (200, 201), fields
        return json.dumps(fields).encode()

    size = raw.stat().st_size
    assert shop.ask("CompletePHostImageUpload", {"ImageId": image, "Size": size}, small.ACME).ret_code == 230
    with FileDisk(str(raw)) as opened:
        send_disk(opened, send)
    wrong = shop.ask("CompletePHostImageUpload", {"ImageId": image, "Size": size + 1}, small.ACME)
    assert (wrong.ret_code, f"a disk of {size} bytes was sealed" in wrong.fields["Detail"]) == (230, True)
    shop.well("CompletePHostImageUpload", {"ImageId": image, "Size": size}, small.ACME)
    assert shop.work(image)["State"] == "Done"

    content = shop.content(image)
    assert content is not None
    assert (content.sha256, content.source_digest) == (sha256_of(raw), f"sha256:{sha256_of(raw)}")
    assert ask(shop, url, "POST", "need", b"")[0] == 409  # the upload is over


def test_known_are_only_chunks_of_base_images_and_of_the_own_project(shop: Shop, tmp_path: Path) -> None:
    base, acme, rival = (disk(tmp_path, seed=seed) for seed in range(1, 4))
    shop.publish(base, TrustFirstUse=True)
    shop.publish(acme, small.ACME, **CUSTOM, TrustFirstUse=True, ProjectId="org-a")
    shop.publish(rival, small.RIVAL, **CUSTOM, TrustFirstUse=True)
    shop.gateway.learn(shop.catalog.head)
    chunks = [first_chunk(each) for each in (base, acme, rival)]

    _, of_acme = begin(shop, small.ACME, ImageType="Custom", ProjectId="org-a")
    _, of_acme_b = begin(shop, small.ACME, ImageType="Custom", ProjectId="org-b")
    _, of_rival = begin(shop, small.RIVAL, ImageType="Custom")
    _, of_base = begin(shop)

    assert needed(shop, of_acme, chunks) == [False, False, True]
    assert needed(shop, of_acme_b, chunks) == [False, True, True]
    assert needed(shop, of_rival, chunks) == [False, True, False]
    assert needed(shop, of_base, chunks) == [False, True, True]
    assert ask(shop, of_rival, "POST", "seal", manifest(CHUNK_SIZE, [chunks[1]]))[0] == 409
    assert ask(shop, of_acme, "POST", "seal", manifest(CHUNK_SIZE, [chunks[1]]))[0] == 201


def test_images_of_zones_that_the_account_may_not_use_are_not_known(shop: Shop, tmp_path: Path) -> None:
    """Their bytes cannot be downloaded either."""
    near, far = (disk(tmp_path, seed=seed) for seed in (1, 2))
    shop.publish(near, TrustFirstUse=True, Zone=["north-a", "south-a"])
    shop.publish(far, TrustFirstUse=True, Zone=["south-a"], Support=["Far"])
    shop.gateway.learn(shop.catalog.head)
    chunks = [first_chunk(each) for each in (near, far)]

    asked = {**CUSTOM, "TrustFirstUse": True}
    begun = shop.gateway.ask("PublishPHostImage", asked, pair=small.FENCED, client=small.INSIDE)
    of_fenced = begun.fields["UploadUrl"]
    _, of_rival = begin(shop, small.RIVAL, ImageType="Custom")

    assert needed(shop, of_fenced, chunks, client=small.INSIDE) == [False, True]
    assert needed(shop, of_rival, chunks) == [False, False]
