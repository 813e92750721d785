"""`phimage image verify` and the frame lists, by which zstd files are sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from phimage.chunks.factory import open_store
from phimage.chunks.layout import frame_list_name
from phimage.installation import open_catalog, prepare
from phimage.settings import Settings
from tests.commands import run
from tests.publishing.shop import Shop, disk


class Published(NamedTuple):
    """An installation with two images, and the files of their frame lists."""

    data: Path
    images: tuple[str, str]
    files: tuple[Path, Path]


@pytest.fixture
def published(tmp_path: Path) -> Published:
    settings = Settings(data_dir=str(tmp_path / "data"))
    prepare(settings)
    catalog, store = open_catalog(settings), open_store(settings.store_place)
    shop = Shop(catalog, store, settings.work_folder)
    images, files = [], []
    for number in (1, 2):
        image = shop.begin(disk(tmp_path, seed=number), number).image
        assert shop.work_once().error == ""
        file = store.path(frame_list_name(shop.content(image).manifest))
        assert file is not None
        images.append(str(image))
        files.append(file)
    catalog.database.close()
    return Published(settings.data_folder, (images[0], images[1]), (files[0], files[1]))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("named", ["all", "image"])
def test_a_damaged_frame_list_is_named_and_removed_and_is_a_finding(published: Published, named: str) -> None:
    flip_a_bit(published.files[0])

    result = run("image", "verify", "--all" if named == "all" else published.images[0], "--data-dir", published.data)

    assert (result.code, result.out) == (
        1,
        f"the frame list of {published.files[0].name} is corrupt: removed; it is made again from the chunks\n",
    )
    assert "are correct, 1 findings" in result.err
    assert [path.exists() for path in published.files] == [False, True]
    assert run("image", "verify", "--all", "--data-dir", published.data).code == 0


def test_the_frame_list_of_an_image_that_is_not_named_is_left_alone(published: Published) -> None:
    flip_a_bit(published.files[0])

    assert run("image", "verify", published.images[1], "--data-dir", published.data).code == 0

    assert all(path.exists() for path in published.files)


def test_json_has_the_frame_lists_that_were_removed(published: Published) -> None:
    published.files[1].write_bytes(published.files[1].read_bytes()[:-1])

    result = run("image", "verify", "--all", "--json", "--data-dir", published.data)

    assert result.code == 1
    told = json.loads(result.out)
    assert (told["FindingSet"], told["RemovedFrameLists"]) == ([], [published.files[1].name])
