"""PHIMAGE_DATABASE: what can be no address of a database is refused by its setting, and never repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from phimage.catalog.address import database_url
from phimage.errors import SetupError

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"postgresql://u:{SECRET}@h:port/d", "is not an address"),
        (f"postgresql://u:{SECRET}@h:/d", "is not an address"),
        (f"postgresql://u:{SECRET}@[::1/d", "is not an address"),
        (f" postgresql://u:{SECRET}@h/d", "is not an address"),
        (f"postgresql://u:{SECRET}@h:0/d", "port that is not a number from 1 to 65535"),
        (f"postgresql://u:{SECRET}@h:65536/d", "port that is not a number from 1 to 65535"),
        (f"postgresql://u:{SECRET}@/d?host=a&host=b&port=1", "hosts and ports that do not fit together"),
        (f"postgresql://u:{SECRET}@/d?port=abc", "hosts and ports that do not fit together"),
        (f"postgresql://u@h/d?password={SECRET}&foo=bar", 'invalid connection option "foo"'),
        (f"postgresql://u:p@{SECRET}@h/d", "write an @ of the password as %40"),
        (f"mysql://u:{SECRET}@h/d", "names 'mysql'"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        (f"sqlite://{SECRET}/x", "has more than a file"),
        (f"sqlite:///x?key={SECRET}", "has more than a file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(address: str, words: str) -> None:
    with pytest.raises(SetupError, match=f"^--to {words}|^--to cannot be used: {words}|^--to .*{words}") as raised:
        database_url(address, Path("data"), "--to")
    assert "expected postgresql://user@host/database" in str(raised.value)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u@h/d?prepared=off&sslmode=require",
        "postgresql://u@/d?host=/run/postgresql",
        "postgresql://u@/d?host=a,b&port=5432,5433",
        "postgresql://u:p%40x@[2001:db8::1]:5433/d",
    ],
)
def test_what_postgresql_takes_is_taken(address: str) -> None:
    assert database_url(address, Path("data")).get_backend_name() == "postgresql"
