"""Statistics of the store as an Action: what was measured last, without measuring."""

from __future__ import annotations

import json
import time
from pathlib import Path

from phimage.chunks.layout import STATISTICS
from phimage.maintenance.measuring import measure_store
from tests.api import small
from tests.api.command_line import CommandLine
from tests.api.conftest import both_sites
from tests.api.publishing import Shop, disk
from tests.commands import run


def _place(shop: Shop) -> list[str]:
    """The options that name the installation of a shop."""
    settings = shop.settings
    named = {"--data-dir": settings.data_dir, "--store": settings.store, "--database": settings.database}
    return [word for name, value in named.items() if value for word in (name, value)]


@both_sites
def test_the_operator_reads_the_last_measurement_with_its_age(shop: Shop, tmp_path: Path) -> None:
    never = shop.well("GetStoreStatistics")
    assert (never["MeasureTime"], never["Age"], never["Stored"], never["Images"]) == (0, 0, 0, [])
    image = shop.publish(disk(tmp_path))
    other = shop.publish(disk(tmp_path, seed=2))
    an_hour_ago = time.time() - 3600
    kept = measure_store(shop.catalog, shop.store, lambda: an_hour_ago, time.monotonic)
    later = shop.publish(disk(tmp_path, seed=3))

    found = shop.well("GetStoreStatistics")

    assert 3600 <= found["Age"] <= 3700
    assert (found["MeasureTime"], found["Revision"]) == (int(an_hour_ago), kept.revision)
    assert (found["ImageCount"], found["DiskCount"], found["Logical"]) == (2, 2, 12 << 20)
    assert found["Stored"] == kept.total.stored > 0
    assert sorted(one["ImageIds"] for one in found["Images"]) == sorted([[image], [other]])
    assert later not in str(found)
    assert len(shop.well("GetStoreStatistics", {"Limit": 1})["Images"]) == 1
    assert shop.ask("GetStoreStatistics", {}, small.ACME).ret_code == 299


def test_the_command_prints_the_same_as_on_the_machine_and_its_age(shop: Shop, tmp_path: Path) -> None:
    cli = CommandLine(shop.gateway)
    nothing = cli.run(shop.operator, "store", "stats", "--server")
    assert (nothing.code, nothing.out) == (0, "")
    assert nothing.err.startswith("no publisher has measured the store yet")
    image = shop.publish(disk(tmp_path))
    measure_store(shop.catalog, shop.store, lambda: time.time() - 5400, time.monotonic)

    there = cli.run(shop.operator, "store", "stats", "--server")
    here = run("store", "stats", *_place(shop))

    assert there.out == here.out
    assert image in there.out
    assert max(map(len, (*there.out.splitlines(), *there.err.splitlines()[1:]))) <= 80
    assert there.err.splitlines()[1] == f"measured 1h ago at revision {shop.catalog.refresh()}"
    whole = json.loads(cli.well(shop.operator, "store", "stats", "--server", "--json"))
    alone = json.loads(run("store", "stats", "--json", *_place(shop)).out)
    assert alone.keys() <= whole.keys()
    assert {name: whole[name] for name in alone if name != "Other"} == {name: alone[name] for name in alone if name != "Other"}
    assert alone["Other"] - whole["Other"] == shop.store.find(f"{STATISTICS}/latest").size  # type: ignore[union-attr]
