"""What clients can do to a server before they have signed anything: stalled bodies, idle connections, and many of both."""

from __future__ import annotations

import json
import resource
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.process import Phimage, Server, wait_until, wait_until_read
from tests.e2e.test_health import measures

SOON = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has little patience and little memory for bodies."""
    variables = {"PHIMAGE_BODY_SECONDS": "0.5", "PHIMAGE_MAX_BODIES_MB": "1"}
    home = Phimage(tmp_path_factory.mktemp("home"), **variables)
    with Server(home, "serve", "--port", "0", "--data-dir", "data") as started:
        yield started


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=SOON) as client:
        yield client


def head(length: int, path: str = "/") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def until_closed(client: socket.socket) -> tuple[bytes, dict[str, object]]:
    """The header of a response, and its fields."""
    found = b""
    while part := client.recv(65536):
        found += part
    header, _, body = found.partition(b"\r\n\r\n")
    return header, json.loads(body)


def answer(client: socket.socket) -> dict[str, Any]:
    """The fields of a response, after which the connection stays open."""
    response = HTTPResponse(client)
    response.begin()
    fields: dict[str, Any] = json.loads(response.read())
    return fields


def test_a_body_that_stalls_is_answered_408_and_its_connection_is_closed(server: Server) -> None:
    for sent in (b"", b"Action=GetRegion"):
        with connected(server) as client:
            client.sendall(head(100) + sent)
            header, fields = until_closed(client)
        assert header.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nconnection: close" in header
        assert (fields["RetCode"], fields["Message"]) == (150, "Service unavailable")
        assert "the body paused" in str(fields["Detail"])


def test_a_body_of_another_method_that_stalls_ends_too(server: Server) -> None:
    with connected(server) as client:
        client.sendall(head(100).replace(b"POST", b"PUT"))
        header, _ = until_closed(client)
    assert header.startswith(b"HTTP/1.1 405 ")


def test_bodies_beyond_the_budget_are_refused_at_once_and_the_others_go_on(tmp_path: Path) -> None:
    home = Phimage(tmp_path, PHIMAGE_MAX_BODIES_MB="1", PHIMAGE_BODY_SECONDS="600")
    with Server(home, "serve", "--port", "0", "--data-dir", "data") as server, ExitStack() as stack:
        holders = [stack.enter_context(connected(server)) for _ in range(16)]
        for holder in holders:
            holder.sendall(head(65_536) + b"A" * 65_530)
        wait_until_read(server.url, len(holders))
        with connected(server) as client:
            client.sendall(head(60_000) + b"A" * 59_990)
            header, fields = until_closed(client)
        assert header.startswith(b"HTTP/1.1 200 ")
        assert (fields["RetCode"], "too many bodies" in str(fields["Detail"])) == (150, True)
        assert urllib3.request("GET", f"{server.url}/healthz", retries=False, timeout=SOON).status == 200
        for holder in holders:  # what was accepted is answered, and its memory is free again
            holder.sendall(b"A" * 6)
            assert "RetCode" in answer(holder)
        with connected(server) as client:
            client.sendall(head(60_000) + b"A" * 60_000)
            assert answer(client)["RetCode"] != 150


IDLE, STALLED = 1500, 400


@pytest.mark.more
def test_a_crowd_that_sends_nothing_or_stalls_keeps_nobody_waiting_and_costs_little(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * (IDLE + STALLED):
        pytest.skip("this process may not open enough files")
    home = Phimage(tmp_path, PHIMAGE_BODY_SECONDS="600", PHIMAGE_HEADER_SECONDS="600")
    # The server starts with few descriptors, as from a shell.
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        server = stack.enter_context(
            Server(home, "serve", "--port", "0", "--data-dir", "data", under=("sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh"))
        )
        key = server.new_key
        assert key is not None
        client = stack.enter_context(Client(server.url, key.public, PrivateKey(key.private)))
        alone = latencies(client)
        for number in range(IDLE + STALLED):
            one = stack.enter_context(connected(server))
            if number >= IDLE:
                one.sendall(head(65_536) + b"A" * 65_000)
        wait_until(lambda: measures(server.url)["phimage_connections"] >= IDLE + STALLED, SOON)
        crowded = latencies(client)
        resident = measures(server.url)["phimage_resident_bytes"]
        sys.stdout.write(f"p99 {alone * 1000:.1f} ms alone, {crowded * 1000:.1f} ms in a crowd, {resident / 2**20:.0f} MB\n")
        assert resident < 300 << 20


@pytest.mark.more
def test_a_server_with_few_descriptors_closes_idle_connections_and_goes_on(tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -n 96; exec "$@"', "sh")
    with ExitStack() as stack:
        server = stack.enter_context(Server(Phimage(tmp_path), "serve", "--port", "0", "--data-dir", "data", under=few))
        for _ in range(300):
            stack.enter_context(connected(server))
        for _ in range(20):
            assert urllib3.request("GET", f"{server.url}/healthz", retries=False, timeout=SOON).status == 200
        assert measures(server.url)['phimage_connections_ended_total{limit="full"}'] > 200


def latencies(client: Client) -> float:
    """The 99th percentile of the seconds of 300 requests. Each must be answered."""
    found = []
    for _ in range(300):
        began = time.perf_counter()
        assert client.call("GetRegion").fields["RetCode"] == 0
        found.append(time.perf_counter() - began)
    return statistics.quantiles(found, n=100)[98]
