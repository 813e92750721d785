"""The database is away for a while: what is remembered is answered with its age, the rest is refused at once, and all of it is
over by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import urllib3

from phimage.client import Client
from tests.e2e.conftest import Installation
from tests.e2e.process import Phimage, Server, wait_until
from tests.postgresql import PostgreSQL
from tests.proxy import Proxy, unix

SOON = 60.0
"""Seconds on a loaded machine for what takes one or two."""
WRITES, WRITES_SECONDS = 200, 40.0
"""If each took a thread until its connection is given up, two seconds, eight threads would need 50 seconds for them."""


ANYWHERE = {"ZoneLimit": ["any"], "NetworkLimit": ["any"]}


class Said(NamedTuple):
    ret_code: int
    age: int | None
    revision: int | None
    detail: str
    seconds: float


class Asker:
    """Sends signed requests to one server."""

    def __init__(self, installation: Installation) -> None:
        self.url = installation.url
        self._client: Client = installation.client()
        self._http = urllib3.PoolManager(maxsize=64, timeout=60, retries=False)
        self._numbers = count(1)

    def ask(self, action: str, **params: Any) -> Said:
        request = self._client.prepare(action, **params)
        begun = time.monotonic()
        answer = self._http.request("POST", request.url, body=request.body, headers=request.headers)
        seconds = time.monotonic() - begun
        fields = json.loads(answer.data)
        age, revision = answer.headers.get("x-phimage-age"), answer.headers.get("x-phimage-revision")
        return Said(
            fields["RetCode"],
            int(age) if age else None,
            int(revision) if revision else None,
            fields.get("Detail", ""),
            seconds,
        )

    def creates(self) -> bool:
        """Whether an account is created; of one that is refused nobody knows whether it was, so the next has another name."""
        return self.ask("CreateAccount", Account=f"acme-after-{next(self._numbers)}", **ANYWHERE).ret_code == 0

    def page(self, path: str) -> tuple[int, Any]:
        answer = self._http.request("GET", self.url + path)
        return answer.status, json.loads(answer.data)

    def measure(self, name: str) -> float:
        text = self._http.request("GET", f"{self.url}/metrics").data.decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    def close(self) -> None:
        self._client.close()
        self._http.clear()


@pytest.fixture
def proxy(postgresql: PostgreSQL) -> Iterator[Proxy]:
    found = Proxy(unix(postgresql.socket))
    yield found
    found.close()


@pytest.fixture
def asker(proxy: Proxy, postgresql: PostgreSQL, tmp_path: Path) -> Iterator[Asker]:
    """A server on PostgreSQL that remembers who is asking and the list of regions."""
    database = f"postgresql://postgres@127.0.0.1:{proxy.port}/{postgresql.create()}"
    home = Phimage(tmp_path / "home")
    with Server(home, "serve", "--port", "0", "--data-dir", "data", "--database", database) as server:
        key = server.new_key
        assert key is not None
        found = Asker(Installation(server, key, home))
        assert found.ask("GetRegion").ret_code == 0
        yield found
        found.close()


AWAY: dict[str, tuple[Callable[[Proxy], None], Callable[[Proxy], None]]] = {
    "refused": (Proxy.refuse, Proxy.allow),
    "silent": (Proxy.stall, Proxy.flow),
}


@pytest.mark.parametrize("way", ["refused", pytest.param("silent", marks=pytest.mark.more)])
def test_while_the_database_is_away_memory_answers_with_its_age_and_writes_are_refused_at_once(
    asker: Asker, proxy: Proxy, way: str
) -> None:
    begin, end = AWAY[way]
    well = {"stopping": "ok", "database": "ok", "store": "ok"}
    wait_until(lambda: asker.page("/readyz") == (200, {"ready": True, "checks": well}), SOON)

    begin(proxy)

    wait_until(lambda: asker.page("/readyz")[0] == 503, SOON)
    wait_until(lambda: asker.ask("GetRegion").age is not None, SOON)
    first = asker.ask("GetRegion")
    assert (first.ret_code, first.revision) == (0, 1)
    wait_until(lambda: (asker.ask("GetRegion").age or 0) > (first.age or 0), SOON)
    assert asker.page("/healthz") == (200, {"status": "ok"})
    assert asker.measure("phimage_database_away ") == 1
    assert asker.measure("phimage_knowledge_age_seconds ") > 1

    with ThreadPoolExecutor(50) as threads:
        begun = time.monotonic()
        writes = [threads.submit(asker.ask, "CreateAccount", Account=f"acme-{number}", **ANYWHERE) for number in range(WRITES)]
        said = [write.result() for write in writes]
        took = time.monotonic() - begun
    assert {write.ret_code for write in said} == {150}
    assert all(write.detail.startswith("the database ") for write in said)
    assert took < WRITES_SECONDS, "no thread waited for the database"

    end(proxy)

    wait_until(lambda: asker.page("/readyz")[0] == 200, SOON)
    wait_until(asker.creates, SOON)
    last = asker.ask("GetRegion")
    assert (last.ret_code, last.age) == (0, None)
    assert asker.measure("phimage_database_away ") == 0


@pytest.mark.more
def test_requests_that_were_waiting_when_the_database_fell_silent_are_answered(asker: Asker, proxy: Proxy) -> None:
    proxy.stall()
    with ThreadPoolExecutor(30) as threads:
        begun = time.monotonic()
        waiting = [threads.submit(asker.ask, "CreateAccount", Account=f"acme-{number}", **ANYWHERE) for number in range(30)]
        said = [one.result() for one in waiting]
    assert {one.ret_code for one in said} == {150}
    assert time.monotonic() - begun < SOON
    proxy.flow()
    wait_until(asker.creates, SOON)


def test_a_connection_that_breaks_costs_no_more_than_the_request_on_it(asker: Asker, proxy: Proxy) -> None:
    for number in range(5):
        proxy.cut()
        account = {"Account": f"acme-{number}", **ANYWHERE}
        wait_until(lambda given=account: asker.ask("CreateAccount", **given).ret_code in (0, 230), SOON)  # type: ignore[misc]
    assert asker.ask("GetRegion").age is None
