"""`phimage image verify` and packs, the compressed copies that the server sends without reading them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from phimage.bootstrap import open_catalog, open_packs, prepare
from phimage.chunks.factory import open_store
from phimage.chunks.layout import ManifestDigest
from phimage.chunks.read import open_disk
from phimage.delivery.frames import measure
from phimage.settings import Settings
from tests.commands import run
from tests.publishing.shop import Shop, disk


class Packed(NamedTuple):
    """An installation with two images, each with a pack."""

    data: Path
    images: tuple[str, str]
    packs: tuple[Path, Path]


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    settings = Settings(data_dir=str(tmp_path / "data"))
    prepare(settings)
    catalog, store = open_catalog(settings), open_store(settings.store_place)
    shop = Shop(catalog, store, settings.work_folder)
    images, packs = [], []
    for number in (1, 2):
        image = shop.begin(disk(tmp_path, seed=number), number).image
        assert shop.work_once().error == ""
        manifest = ManifestDigest(shop.content(image).manifest)
        pack = open_packs(settings, store).build(measure(open_disk(store, manifest), store))
        assert pack is not None
        images.append(str(image))
        packs.append(pack.path)
    catalog.database.close()
    return Packed(settings.data_folder, (images[0], images[1]), (packs[0], packs[1]))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("named", ["all", "image"])
def test_a_damaged_pack_is_named_and_removed_and_is_a_finding(packed: Packed, named: str) -> None:
    flip_a_bit(packed.packs[0])

    result = run("image", "verify", "--all" if named == "all" else packed.images[0], "--data-dir", packed.data)

    assert (result.code, result.out) == (
        1,
        f"cached zstd file {packed.packs[0].name} is corrupt: removed; it is cached again from the chunks\n",
    )
    assert "are correct, 1 findings" in result.err
    assert [path.exists() for path in packed.packs] == [False, True]
    assert run("image", "verify", "--all", "--data-dir", packed.data).code == 0


def test_the_pack_of_an_image_that_is_not_named_is_left_alone(packed: Packed) -> None:
    flip_a_bit(packed.packs[0])

    assert run("image", "verify", packed.images[1], "--data-dir", packed.data).code == 0

    assert all(path.exists() for path in packed.packs)


def test_json_has_the_packs_that_were_removed(packed: Packed) -> None:
    packed.packs[1].write_bytes(packed.packs[1].read_bytes()[:-1])

    result = run("image", "verify", "--all", "--json", "--data-dir", packed.data)

    assert result.code == 1
    verified = json.loads(result.out)
    assert (verified["FindingSet"], verified["RemovedZstdFiles"]) == ([], [packed.packs[1].name])
