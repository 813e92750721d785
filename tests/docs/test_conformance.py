"""The page about conformance has every parameter and every field, and names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from phimage import demo
from phimage.actions import registry
from phimage.actions.images import DescribePHostImage, DescribePHostImageResponse, PHostImageSet
from phimage.fields import fields_of
from tests.api.gateway import Gateway, running
from tests.api.signer import DEMO
from tests.sites import Site

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "conformance.md").read_text("utf-8")
_ROW = re.compile(r"^\| (`.*?) \|", re.MULTILINE)


def test_every_parameter_and_every_field_has_a_row() -> None:
    rows = {name.partition(".")[0] for cell in _ROW.findall(PAGE) for name in re.findall(r"`([A-Z]\w+(?:\.N)?)`", cell)}
    settings = registry().settings
    fields = {field.name for kind in (DescribePHostImageResponse, PHostImageSet) for field in fields_of(kind)}
    parameters = {field.name for field in fields_of(DescribePHostImage, settings)}

    assert fields | parameters | {"Action", "PublicKey", "Signature", "ProjectId", "RetCode", "Message"} <= rows


def test_every_test_that_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    known = {
        name
        for file in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }

    assert len(named) > 25
    assert named - known == set()


def test_a_type_that_is_on_10g_alone_lists_as_many_images_as_the_page_says(tmp_path: Path) -> None:
    site = Site(tmp_path / "data")
    demo.fill(site.settings())
    with running(site.settings()) as gateway:
        asked = {"Region": "cn-bj2", "Zone": "cn-bj2-02", "MachineType": "DB-2"}
        assert f"here it lists {total(gateway, asked)}" in PAGE
        assert total(gateway, {**asked, "Cluster": "25G"}) == 0


def total(gateway: Gateway, params: dict[str, str]) -> int:
    return gateway.ask("DescribePHostImage", params, pair=DEMO).total
