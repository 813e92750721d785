"""After every migration there is, this program answers an earlier release's requests from its data as that release did.

The rule: a response may gain fields. It may not lose or change one: every value and its type stay, and a list keeps its
elements in their order. `recording` declares what is masked.

Both databases are tested. Image bytes are kept in a folder only: a store in S3 holds the same objects under the same names, and
`tests/contract/test_store_format.py` checks both against the documented format.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.upgrade.kept import Exchange, Kept, all_kept
from tests.upgrade.program import Settings, damage, running, settings_of, upgrade
from tests.upgrade.recording import differences, is_shown_now, send

# docs/decisions.md#every-release-leaves-data-for-later-tests
RELEASES = {kept.about.release: kept for kept in all_kept()}


@pytest.fixture(scope="module", params=product(RELEASES, ("sqlite", "postgresql")), ids="-".join)
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kept, Settings]]:
    """A copy of an earlier release's installation, upgraded to the schema of this program."""
    release, database = request.param
    kept = RELEASES[release]
    data = kept.unpack(tmp_path_factory.mktemp(release) / "data")
    if database == "sqlite":
        upgrade(settings_of(data))
        yield kept, settings_of(data)
        return
    (data / "catalog.sqlite").unlink()
    server = request.getfixturevalue("postgresql")
    name = server.create()
    server.restore(name, kept.dump)
    upgrade(settings_of(data, server.url(name)))
    yield kept, settings_of(data, server.url(name))
    server.drop(name)


def changed_responses(settings: Settings, exchanges: Iterable[Exchange]) -> list[str]:
    changed = []
    with running(settings) as gateway:
        for exchange in exchanges:
            name, now = exchange.request.name, send(gateway, exchange.request)
            if "Fields" not in now or not is_shown_now(name, exchange.response, now):
                changed += [f"{name}: {difference}" for difference in differences(exchange.response, now)]
    return changed


def test_every_response_is_as_the_earlier_release_gave_it(upgraded: tuple[Kept, Settings]) -> None:
    kept, settings = upgraded
    assert changed_responses(settings, kept.exchanges) == []


def test_database_and_images_of_the_earlier_release_are_undamaged(upgraded: tuple[Kept, Settings]) -> None:
    kept, settings = upgraded
    assert damage(settings, kept.about.images) == []


@pytest.mark.parametrize("release", RELEASES)
def test_a_row_of_the_past_that_is_lost_changes_pinned_responses_alone(release: str, tmp_path: Path) -> None:
    kept = RELEASES[release]
    data = kept.unpack(tmp_path / "data")
    with sqlite3.connect(data / "catalog.sqlite") as connection:
        lost = connection.execute("DELETE FROM image WHERE id = 'pimg-cs-u2204a' AND until < 1000000").rowcount
    connection.close()
    assert lost == 1
    upgrade(settings_of(data))
    pinned = [exchange for exchange in kept.exchanges if exchange.request.path.startswith("/rev/")]
    present = [exchange for exchange in kept.exchanges if exchange.request.path == "/"]
    assert any("ImageSet" in difference for difference in changed_responses(settings_of(data), pinned))
    assert changed_responses(settings_of(data), present[:20]) == []
