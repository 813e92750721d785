"""Settings come from a file, variables and flags, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.errors import SetupError
from phimage.settings import Settings, read_settings, with_fixed


def test_without_anything_the_defaults_hold() -> None:
    assert read_settings(None, {}, {}) == Settings()


def test_a_variable_wins_over_the_file_and_a_flag_over_both(tmp_path: Path) -> None:
    file = tmp_path / "phimage.toml"
    file.write_text('host = "127.0.0.2"\nport = 1\nworkers = 3\n')
    found = read_settings(file, {"PHIMAGE_PORT": "2", "PHIMAGE_WORKERS": "4"}, {"port": 5, "host": None})
    assert (found.host, found.port, found.workers) == ("127.0.0.2", 5, 4)


def test_variables_are_read_by_their_kind() -> None:
    variables = {"PHIMAGE_REQUIRE_ZONE": "false", "PHIMAGE_RATE": "2.5", "PHIMAGE_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32"}
    found = read_settings(None, variables, {})
    assert (found.require_zone, found.rate, found.trusted_proxies) == (False, 2.5, ("10.0.0.0/8", "2001:db8::/32"))


def test_variables_of_the_client_are_not_settings() -> None:
    assert read_settings(None, {"PHIMAGE_ENDPOINT": "http://x", "PHIMAGE_PRIVATE_KEY": "k"}, {}) == Settings()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PHIMAGE_PORT": "many"}, "PHIMAGE_PORT"),
        ({"PHIMAGE_PORT": "70000"}, "PHIMAGE_PORT"),
        ({"PHIMAGE_RESERVE_MB": "1"}, "PHIMAGE_RESERVE_MB was renamed: use PHIMAGE_MIN_FREE_MB"),
        ({"PHIMAGE_ZSTD_CACHE_MB": "1"}, "PHIMAGE_ZSTD_CACHE_MB was removed: .* delete the setting"),
        ({"PHIMAGE_TRUSTED_PROXIES": "nonsense"}, "trusted_proxies"),
        ({"PHIMAGE_TRUSTED_PROXIES": "10.0.0.1/24"}, "trusted_proxies"),
        *(({"PHIMAGE_PUBLIC_URL": f"https://{rest}"}, "public_url") for rest in ("", "a b", "me@a", "a?b=c", "a/b#c", ":443/")),
        ({"PHIMAGE_PUBLIC_URL": "images.example"}, "public_url"),
        ({"PHIMAGE_TLS_MINIMUM": "1.1"}, "PHIMAGE_TLS_MINIMUM"),
        ({"PHIMAGE_EXPLAIN_SIGNATURES": "true", "PHIMAGE_HOST": "0.0.0.0"}, "--explain-signatures-to-anyone"),
    ],
)
def test_a_wrong_value_is_named(variables: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        read_settings(None, variables, {})


def test_explaining_signatures_beyond_loopback_can_be_allowed() -> None:
    variables = {"PHIMAGE_EXPLAIN_SIGNATURES": "true", "PHIMAGE_HOST": "0.0.0.0"}
    assert read_settings(None, variables, {"explain_signatures_to_anyone": True}).explain_signatures


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hosst = 'x'", "unknown setting 'hosst'"),
        ("most_limit = 9", "most_limit was renamed: use max_limit"),
        ("packs_mb = 9", "the setting packs_mb was removed: .* delete the setting"),
        ("host = ", "is not TOML"),
        ("port = 'many'", "port"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "phimage.toml"
    file.write_text(text)
    with pytest.raises(SetupError, match=words) as caught:
        read_settings(file, {}, {})
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        read_settings(tmp_path / "none.toml", {}, {})


def test_a_reload_keeps_what_only_a_restart_can_change_and_names_it() -> None:
    running = Settings(port=8080, data_dir="here", max_limit=10)
    settings, changed = with_fixed(running, Settings(port=9090, data_dir="there", max_limit=20, workers=3))
    assert (settings, changed) == (Settings(port=8080, data_dir="here", max_limit=20, workers=3), ["port", "data_dir"])
    assert with_fixed(running, Settings(port=8080, data_dir="here"))[1] == []
