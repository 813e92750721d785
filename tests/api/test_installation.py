"""An installation is made once, whole, and only opens with the master key it was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.bootstrap import open_catalog, open_existing, prepare, recover_operator_key
from phimage.errors import SetupError
from phimage.settings import Settings


def _settings(folder: Path) -> Settings:
    return Settings(data=str(folder / "data"))


def test_the_first_start_makes_a_key_and_the_second_does_not(tmp_path: Path) -> None:
    assert prepare(_settings(tmp_path)).new_key is not None
    assert prepare(_settings(tmp_path)).new_key is None


def test_the_folder_and_the_master_key_are_closed_to_others(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    prepare(settings)
    assert settings.data_folder.stat().st_mode & 0o777 == 0o700
    assert settings.master_key_file.stat().st_mode & 0o777 == 0o600


def test_a_start_that_was_cut_off_after_the_master_key_is_gone_on_with(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    prepare(settings)
    for file in settings.data_folder.glob("catalog.sqlite*"):
        file.unlink()
    kept = settings.master_key_file.read_text()
    assert prepare(settings).new_key is not None
    assert settings.master_key_file.read_text() == kept


def test_another_installations_master_key_is_refused_before_anything_is_served_or_written(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    prepare(settings)
    settings.master_key_file.write_text("ab" * 32 + "\n")
    for opening in (prepare, open_catalog, recover_operator_key):
        with pytest.raises(SetupError, match="master key is not the one"):
            opening(settings)


def test_a_missing_master_key_is_not_made_anew_for_an_existing_database(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    prepare(settings)
    settings.master_key_file.unlink()
    with pytest.raises(SetupError, match="put back the master key"):
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
