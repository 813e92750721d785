"""`phimage image verify` and the zstd cache, whose files the server sends without reading them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from phimage.application import open_zstd_cache
from phimage.chunks.factory import open_store
from phimage.chunks.read import open_disk
from phimage.delivery.zstd_disk import measure
from phimage.installation import open_catalog, prepare
from phimage.settings import Settings
from tests.commands import run
from tests.publishing.shop import Shop, disk


class Cached(NamedTuple):
    """An installation with two images, each with a cached zstd file."""

    data: Path
    images: tuple[str, str]
    files: tuple[Path, Path]


@pytest.fixture
def cached(tmp_path: Path) -> Cached:
    settings = Settings(data_dir=str(tmp_path / "data"))
    prepare(settings)
    catalog, store = open_catalog(settings), open_store(settings.store_place)
    shop = Shop(catalog, store, settings.work_folder)
    images, files = [], []
    for number in (1, 2):
        image = shop.begin(disk(tmp_path, seed=number), number).image
        assert shop.work_once().error == ""
        manifest = shop.content(image).manifest
        file = open_zstd_cache(settings, store).build(measure(open_disk(store, manifest), store))
        assert file is not None
        images.append(str(image))
        files.append(file.path)
    catalog.database.close()
    return Cached(settings.data_folder, (images[0], images[1]), (files[0], files[1]))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("named", ["all", "image"])
def test_a_damaged_file_is_named_and_removed_and_is_a_finding(cached: Cached, named: str) -> None:
    flip_a_bit(cached.files[0])

    result = run("image", "verify", "--all" if named == "all" else cached.images[0], "--data-dir", cached.data)

    assert (result.code, result.out) == (
        1,
        f"cached zstd file {cached.files[0].name} is corrupt: removed; it is cached again from the chunks\n",
    )
    assert "are correct, 1 findings" in result.err
    assert [path.exists() for path in cached.files] == [False, True]
    assert run("image", "verify", "--all", "--data-dir", cached.data).code == 0


def test_the_file_of_an_image_that_is_not_named_is_left_alone(cached: Cached) -> None:
    flip_a_bit(cached.files[0])

    assert run("image", "verify", cached.images[1], "--data-dir", cached.data).code == 0

    assert all(path.exists() for path in cached.files)


def test_json_has_the_files_that_were_removed(cached: Cached) -> None:
    cached.files[1].write_bytes(cached.files[1].read_bytes()[:-1])

    result = run("image", "verify", "--all", "--json", "--data-dir", cached.data)

    assert result.code == 1
    told = json.loads(result.out)
    assert (told["FindingSet"], told["RemovedZstdFiles"]) == ([], [cached.files[1].name])
