"""An installation is made once, whole, and only opens with the master key it was made with."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from phimage.application import run_publisher
from phimage.catalog import schema
from phimage.catalog.accounts import add_key
from phimage.catalog.engine import database_url, open_database
from phimage.catalog.key_encryption import make_master_key
from phimage.chunks.factory import open_store
from phimage.cli import phimage
from phimage.errors import SetupError
from phimage.installation import (
    OPERATOR,
    command_author,
    open_catalog,
    open_existing,
    prepare,
    recover_operator_key,
    rotate_master_key,
)
from phimage.model.ids import PublicKey
from phimage.settings import Settings
from tests.api.publishing import Shop, disk
from tests.sites import NewSite, Site


@pytest.fixture
def site(new_site: NewSite, tmp_path: Path) -> Site:
    return new_site(tmp_path / "data")


def _settings(folder: Path) -> Settings:
    return Settings(data_dir=str(folder / "data"))


def test_the_first_start_makes_a_key_and_the_second_does_not(tmp_path: Path) -> None:
    assert prepare(_settings(tmp_path)).new_key is not None
    assert prepare(_settings(tmp_path)).new_key is None


def test_the_folder_and_the_master_key_are_closed_to_others(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    prepare(settings)
    assert settings.data_folder.stat().st_mode & 0o777 == 0o700
    assert settings.master_key_file.stat().st_mode & 0o777 == 0o600


def test_a_start_that_was_cut_off_after_the_master_key_is_gone_on_with(site: Site) -> None:
    settings = site.settings()
    settings.data_folder.mkdir()
    database = open_database(database_url(settings.database, settings.data_folder))
    try:
        schema.create_or_check(database)
    finally:
        database.close()
    make_master_key(settings.master_key_file, os.urandom)
    kept = settings.master_key_file.read_text()
    assert prepare(settings).new_key is not None
    assert settings.master_key_file.read_text() == kept


def test_a_start_that_was_cut_off_before_it_claimed_the_store_is_gone_on_with(site: Site) -> None:
    prepare(site.settings())
    store = open_store(site.settings().store_place)
    [claim] = [stored.name for stored in store.list()]
    store.delete(claim)
    prepare(site.settings())
    assert [stored.name for stored in store.list()] == [claim]


def test_a_lost_database_is_never_a_first_start(site: Site) -> None:
    settings = site.settings()
    prepare(settings)
    key = settings.master_key_file.read_text()
    site.lose_database()
    settings = site.settings()

    with pytest.raises(SetupError, match=r"the master key .* exists, but .* is empty: restore the data"):
        prepare(settings)
    settings.master_key_file.unlink()
    with pytest.raises(SetupError, match=r"the store, .*, is in use, but .* is empty: restore the"):
        prepare(settings)

    assert not (settings.data_folder / "catalog.sqlite").exists()
    assert not settings.master_key_file.exists(), "a new one would hide that the old one is needed"
    settings.master_key_file.write_text(key)


def test_a_database_with_another_installations_store_serves_and_collects_nothing(
    site: Site, new_site: NewSite, tmp_path: Path
) -> None:
    prepare(site.settings())
    other = new_site(tmp_path / "other")
    prepare(other.settings())
    store = open_store(other.settings().store_place)
    store.put("chunks/00/old", b"1")
    before = sorted(store.list(), key=str)
    crossed = site.settings(store=other.settings().store_place)

    told = r"the store, .*, belongs to installation .{8}, and this database is of .{8}: check"
    for opening in (prepare, lambda settings: run_publisher(settings, threading.Event())):
        with pytest.raises(SetupError, match=told):
            opening(crossed)
    options = ("--data-dir", crossed.data_dir, "--store", crossed.store, "--database", crossed.database)
    for command in (("store", "gc"), ("image", "verify", "--all"), ("store", "stats")):
        result = CliRunner().invoke(phimage, [*command, *options])
        assert isinstance(result.exception, SetupError)
        assert re.match(told, str(result.exception))
    assert sorted(store.list(), key=str) == before

    asked = CliRunner().invoke(phimage, ["store", "adopt", *options], input="n\n")
    assert (asked.exit_code, "this database refers to 0 of its manifests" in asked.output) == (1, True)
    adopted = CliRunner().invoke(phimage, ["store", "adopt", "--yes", *options])
    assert adopted.output.endswith("now belongs to this installation\n")
    again = CliRunner().invoke(phimage, ["store", "adopt", *options])
    assert again.output.endswith("already belongs to this installation\n")
    assert CliRunner().invoke(phimage, ["store", "gc", *options]).exit_code == 0
    with pytest.raises(SetupError, match="belongs to installation"):
        prepare(other.settings())


def test_a_check_of_the_database_finds_what_the_store_lacks(shop: Shop, tmp_path: Path) -> None:
    image = shop.publish(disk(tmp_path))
    settings = shop.settings
    options = ("--data-dir", settings.data_dir, "--store", settings.store, "--database", settings.database)
    well = CliRunner().invoke(phimage, ["db", "check", *options])
    assert (well.exit_code, well.output) == (0, "no findings\n")
    lost = next(iter(shop.store.list("chunks")))
    shop.store.delete(lost.name)

    result = CliRunner().invoke(phimage, ["db", "check", *options])

    assert result.exit_code == 1
    assert re.search(
        rf"^store +image_bytes +{image}: manifest .*: chunks of 1 places on the disk",
        result.output,
        re.MULTILINE,
    )


def test_a_start_says_whether_anything_was_changed_since_the_first(site: Site) -> None:
    """Then a key that was never shown is told how to be replaced."""
    settings = site.settings()
    assert not prepare(settings).unchanged
    assert prepare(settings).unchanged
    recover_operator_key(settings)
    assert not prepare(settings).unchanged


def test_another_installations_master_key_is_refused_before_anything_is_served_or_written(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    prepare(settings)
    settings.master_key_file.write_text("ab" * 32 + "\n")
    for opening in (prepare, open_catalog, recover_operator_key):
        with pytest.raises(SetupError, match="cannot be decrypted: use the master key"):
            opening(settings)


def test_a_missing_master_key_is_not_made_anew_for_an_existing_database(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    prepare(settings)
    settings.master_key_file.unlink()
    with pytest.raises(SetupError, match="restore the master key"):
        prepare(settings)
    assert not settings.master_key_file.exists()


def test_a_folder_without_an_installation_is_said_to_be_one(tmp_path: Path) -> None:
    for opening in (open_existing, recover_operator_key):
        with pytest.raises(SetupError, match="there is no installation in"):
            opening(_settings(tmp_path))
    assert not (tmp_path / "data").exists()


def test_a_recovered_key_is_the_operators(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    first = prepare(settings).new_key
    new = recover_operator_key(settings)
    assert first is not None
    assert new.public != first.public
    catalog = open_catalog(settings)
    try:
        found = catalog.now(wait=True).key(new.public)
    finally:
        catalog.database.close()
    assert found is not None
    assert found[1].reveal() == new.private.reveal()


def reveal(settings: Settings, public: PublicKey) -> str:
    catalog = open_catalog(settings)
    try:
        found = catalog.now(wait=True).key(public)
    finally:
        catalog.database.close()
    assert found is not None
    return found[1].reveal()


def test_a_new_master_key_takes_the_place_of_the_old_one_for_every_key(site: Site) -> None:
    settings = site.settings()
    first, second = prepare(settings).new_key, recover_operator_key(settings)
    assert first is not None
    before = settings.master_key_file.read_text()
    running = open_catalog(settings)

    options = ("--data-dir", settings.data_dir, "--database", settings.database)
    result = CliRunner().invoke(phimage, ["key", "rotate-master", *options])

    assert result.exit_code == 0, result.output
    assert "2 keys are encrypted" in result.output
    assert settings.master_key_file.read_text() != before
    (kept,) = settings.data_folder.glob("master.key.*")
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (before, 0o600)
    for key in (first, second):
        assert reveal(settings, key.public) == key.private.reveal()
    try:  # a server that was not stopped adds no key that nobody can decrypt afterwards
        tenant = running.now(wait=True).tenant(OPERATOR)
        assert tenant is not None
        (user,) = tenant.users.values()
        with running.change(command_author("Test")) as change, pytest.raises(SetupError, match="cannot be decrypted"):
            add_key(change, user, running.key_encryption, os.urandom)
    finally:
        running.database.close()
    settings.master_key_file.write_text(before)
    with pytest.raises(SetupError, match="cannot be decrypted"):
        open_catalog(settings)


def test_an_interrupted_rotation_of_the_master_key_is_gone_on_with(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = site.settings()
    key = prepare(settings).new_key
    assert key is not None
    with monkeypatch.context() as patch:
        patch.setattr("phimage.installation.encrypt_anew", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rotate_master_key(settings)
    assert reveal(settings, key.public) == key.private.reveal()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rotate_master_key(settings)
    with pytest.raises(SetupError, match="run `phimage key rotate-master` again"):
        prepare(settings)

    rotate_master_key(settings)

    assert reveal(settings, key.public) == key.private.reveal()
    assert prepare(settings).new_key is None


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
