"""An image is taken away while it is downloaded: the client gets the right bytes, all of them or the first of them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from phimage.catalog.image_bytes import withdraw_image_bytes
from phimage.catalog.images import IMAGES
from phimage.chunks.gc import collect_garbage
from phimage.installation import command_author
from phimage.maintenance import gc
from phimage.model.ids import ImageId
from tests.api import small
from tests.api.publishing import Shop, disk

FORMS = {"raw": "RawUrl", "zstd": "ZstdUrl", "qcow2": "Qcow2Url"}
MEBIBYTES = 10
DAY = 24 * 3600.0
LATER = time.time() + 30 * DAY
"""When the image is withdrawn: the store has had its bytes for longer than any grace."""


def withdraw(shop: Shop, image: str) -> None:
    """As another server does it, at a later time."""
    with shop.catalog.change(replace(command_author("WithdrawPHostImage"), time=LATER)) as change:
        withdraw_image_bytes(change, [ImageId(image)], "the image was withdrawn")
        found = IMAGES.find(change.connection, image)
        assert found is not None
        IMAGES.withdraw(change, found)


def sweep(shop: Shop, folder: Path, now: float) -> int:
    """How many chunks `store gc` removes at a time."""
    author = command_author("CollectStore")
    swept = gc.collect_garbage(shop.catalog, shop.store, folder, author, grace_seconds=DAY, now=lambda: now)
    return swept.store.removed_chunks


def test_a_download_ends_right_although_its_image_is_withdrawn_and_collected_within_the_grace(
    shop: Shop, tmp_path: Path
) -> None:
    original = disk(tmp_path, mebibytes=MEBIBYTES)
    image = shop.publish(original)
    urls = shop.well("GetPHostImageDownloadUrl", {"ImageId": image}, small.ACME)
    removed = []

    def take_away() -> None:
        withdraw(shop, image)
        removed.append(sweep(shop, tmp_path, LATER + DAY / 2))

    for form, name in FORMS.items():
        answer = shop.gateway.fetch("GET", urls[name], meanwhile=take_away)

        assert (removed.pop(), answer.status, answer.whole) == (0, 200, True)
        assert _raw(answer.body, form, tmp_path) == original.read_bytes()
        shop.gateway.learn(shop.catalog.head)
        assert shop.gateway.fetch("GET", urls[name]).status == 410, "it is gone for everybody who comes later"
        shop.well("RestorePHostImage", {"ImageId": image})
        shop.catalog.refresh()


@pytest.mark.more
@pytest.mark.parametrize("form", FORMS)
def test_a_download_that_outlasts_the_grace_is_cut_and_never_has_wrong_bytes(form: str, shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path, mebibytes=MEBIBYTES))
    url = str(shop.well("GetPHostImageDownloadUrl", {"ImageId": image}, small.ACME)[FORMS[form]])
    whole = shop.gateway.fetch("GET", url).body
    removed = []

    def take_away() -> None:
        withdraw(shop, image)
        live, now = lambda: gc.manifests_in_use(shop.catalog), LATER + 2 * DAY
        found = collect_garbage(shop.store, live, now=now, grace_seconds=DAY, sleep=lambda seconds: None)  # S3 settles for long
        removed.append(found.removed_chunks)

    answer = shop.gateway.fetch("GET", url, meanwhile=take_away)

    assert removed[0] > 0
    assert answer.whole or len(answer.body) < len(whole)
    assert answer.body == whole[: len(answer.body)]


def _raw(body: bytes, form: str, folder: Path) -> bytes:
    """The raw disk of a downloaded form, as the usual programs read it."""
    file = folder / f"downloaded.{form}"
    file.write_bytes(body)
    if form == "zstd":
        return subprocess.run(["zstd", "-dc", file], check=True, capture_output=True).stdout
    if form == "qcow2":
        subprocess.run(["qemu-img", "convert", "-O", "raw", file, folder / "downloaded.raw"], check=True)
        return (folder / "downloaded.raw").read_bytes()
    return body
