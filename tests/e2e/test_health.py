"""What a server tells of its health, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from select import select
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.conftest import Serve
from tests.e2e.process import Phimage, Server, wait_until, wait_until_read

SOON = 60.0


def measures(url: str) -> dict[str, float]:
    alone = {"Connection": "close"}  # so that a worker that ends or is stopped meanwhile is not the next one that is asked
    answer = urllib3.request("GET", f"{url}/metrics", headers=alone, retries=False, timeout=SOON)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    lines = [line.rpartition(" ") for line in answer.data.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def ready(url: str) -> tuple[int, Any]:
    answer = urllib3.request("GET", f"{url}/readyz", retries=False, timeout=SOON)
    return answer.status, json.loads(answer.data)["checks"]


@pytest.mark.more
def test_the_measures_of_all_workers_are_read_at_any_of_them(tmp_path: Path) -> None:
    asked = 40
    with Server(Phimage(tmp_path), "serve", "--port", "0", "--data-dir", "data", "--workers", "3") as server:
        key = server.new_key
        assert key is not None
        for _ in range(asked):  # each on a connection of its own, so on any worker
            with Client(server.url, key.public, PrivateKey(key.private)) as client:
                client.call("GetRegion")
        name = 'phimage_requests_total{action="GetRegion",ret_code="0"}'
        probed = 'phimage_store_calls_total{operation="find"}'
        wait_until(lambda: measures(server.url).get(name) == asked and measures(server.url).get(probed, 0) > 0, SOON)
        found = measures(server.url)
        assert found["phimage_workers"] == 3
        assert found['phimage_request_seconds_count{action="GetRegion"}'] == asked
        assert found['phimage_request_seconds_bucket{action="GetRegion",le="+Inf"}'] == asked
        assert found['phimage_database_calls_total{kind="read"}'] > 0
        assert found['phimage_database_failures_total{kind="read"}'] == 0
        assert found["phimage_database_away"] == 0
        assert found["phimage_knowledge_age_seconds"] < 60
        assert found["phimage_revision"] > 0
        assert found["phimage_jobs_unfinished"] == 0
        assert found["phimage_backup_timestamp_seconds"] == found["phimage_backup_verified_timestamp_seconds"] == 0
        assert found["phimage_received_bytes_total"] > 0
        assert found["phimage_sent_bytes_total"] > 0
        assert found["phimage_resident_bytes"] > 10 << 20


def test_measures_are_not_for_everybody(serve: Serve) -> None:
    with serve() as server:
        forwarded = {"X-Forwarded-For": "192.0.2.1"}
        behind = urllib3.request("GET", f"{server.url}/metrics", headers=forwarded, retries=False, timeout=SOON)
        assert behind.status == 403, "a proxy that nobody named stands between"
        assert measures(server.url)


def test_requests_are_logged_when_asked_and_never_with_their_parameters(tmp_path: Path) -> None:
    home = Phimage(tmp_path, PHIMAGE_LOG_REQUESTS="true")
    with Server(home, "serve", "--port", "0", "--data-dir", "data") as server:
        key = server.new_key
        assert key is not None
        with Client(server.url, key.public, PrivateKey(key.private)) as client:
            request_id = client.call("CreateAccount", Account="acme", ZoneLimit=["any"], NetworkLimit=["any"]).request_id
        lines = [json.loads(line) for line in server.errors.splitlines()]
        found = [line for line in lines if line["event"] == "request.answered" and line["request_id"] == request_id]
        assert len(found) == 1
        assert found[0] | {"timestamp": "", "seconds": 0, "bytes": 0} == {
            "event": "request.answered",
            "level": "info",
            "timestamp": "",
            "request_id": request_id,
            "action": "CreateAccount",
            "ret_code": 0,
            "revision": found[0]["revision"],
            "address": "127.0.0.1",
            "seconds": 0,
            "bytes": 0,
        }
        assert key.private not in server.errors
        assert not re.search("Signature", server.errors)


@pytest.mark.more
def test_a_server_that_is_told_to_end_says_so_and_goes_on_until_it_is_told_twice(tmp_path: Path) -> None:
    home = Phimage(tmp_path / "home", PHIMAGE_SHUTDOWN_DELAY_SECONDS="600")
    server = Server(home, "serve", "--port", "0", "--data-dir", "data")
    key = server.new_key
    assert key is not None
    with Client(server.url, key.public, PrivateKey(key.private)) as client:
        wait_until(lambda: ready(server.url)[0] == 200, SOON)
        server.signal(signal.SIGTERM)
        told = {"stopping": "the server is shutting down", "database": "ok", "store": "ok"}
        wait_until(lambda: ready(server.url) == (503, told), SOON)
        assert client.call("CreateAccount", Account="acme", ZoneLimit=["any"], NetworkLimit=["any"]).fields["RetCode"] == 0
    server.stop()


@pytest.mark.more
def test_a_server_that_is_told_to_end_ends_by_itself_after_the_delay(tmp_path: Path) -> None:
    server = Server(Phimage(tmp_path, PHIMAGE_SHUTDOWN_DELAY_SECONDS="1"), "serve", "--port", "0", "--data-dir", "data")
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began > 1


def test_a_request_that_is_under_way_when_the_server_is_told_to_end_is_answered(tmp_path: Path) -> None:
    server = Server(Phimage(tmp_path), "serve", "--port", "0", "--data-dir", "data")
    key = server.new_key
    assert key is not None
    with Client(server.url, key.public, PrivateKey(key.private)) as client:
        request = client.prepare("CreateAccount", Account="acme", ZoneLimit=["any"], NetworkLimit=["any"])
    busy = sqlite3.connect(tmp_path / "data" / "catalog.sqlite", isolation_level=None)
    with closing(busy), closing(HTTPConnection(urlsplit(server.url).netloc, timeout=SOON)) as connection:
        busy.execute("BEGIN IMMEDIATE")  # another writer, for which the request waits
        connection.request("POST", "/", request.body, dict(request.headers))
        wait_until_read(server.url, 1)
        server.signal(signal.SIGTERM)
        assert select([connection.sock], [], [], 1) == ([], [], []), "there is an answer"
        busy.execute("ROLLBACK")
        assert json.loads(connection.getresponse().read())["RetCode"] == 0
        server.end()
