"""Pages beside the gateway."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from phimage.http.pages import fixed, for_networks, made_once, readiness


def test_a_fixed_page_is_always_the_same() -> None:
    answer = asyncio.run(fixed(b"{}")("192.0.2.1"))
    assert (answer.status, answer.body, answer.content_type) == (200, b"{}", "application/json")


def test_a_document_is_made_once_when_it_is_asked_for_first() -> None:
    made: list[bytes] = []

    def make() -> bytes:
        made.append(b"{}")
        return made[-1]

    page = made_once(make)
    assert made == []
    for _ in range(2):
        assert asyncio.run(page("")).body == b"{}"
    assert len(made) == 1


def test_a_process_is_ready_when_nothing_is_in_the_way() -> None:
    answer = asyncio.run(readiness({"database": lambda: "", "stopping": lambda: ""})(""))
    assert answer.status == 200
    assert msgspec.json.decode(answer.body) == {"ready": True, "checks": {"database": "ok", "stopping": "ok"}}


def test_a_process_that_is_not_ready_says_why() -> None:
    answer = asyncio.run(readiness({"database": lambda: "it is away", "stopping": lambda: ""})(""))
    assert answer.status == 503
    assert msgspec.json.decode(answer.body) == {"ready": False, "checks": {"database": "it is away", "stopping": "ok"}}


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", 200), ("10.1.2.3", 200), ("::1", 200), ("10.2.0.1", 403), ("192.0.2.1", 403), ("::2", 403), ("", 403)],
)
def test_a_page_for_some_networks_is_refused_to_others(address: str, status: int) -> None:
    page = for_networks(["127.0.0.0/8", "10.1.0.0/16", "::1/128"], "text/plain", lambda: b"metrics")
    answer = asyncio.run(page(address))
    assert answer.status == status
    assert (answer.body == b"metrics") == (status == 200)
