"""An endpoint for the tests of a worker, and a world for each test, used as the plugin does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from phimage.pytest import PhimageServer, PhimageWorld
from tests.e2e.process import Phimage, Server

_names = count(1)


def server_of(endpoint: Server) -> PhimageServer:
    """What the plugin knows of an endpoint, from the variables that it prints."""
    lines = [line.removeprefix("export ") for line in endpoint.output.splitlines() if line.startswith("export ")]
    return PhimageServer(endpoint.url, dict(line.split("=", 1) for line in lines))


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The process of an endpoint."""
    with Server(Phimage(tmp_path_factory.mktemp("ci")), "ci") as running:
        yield running


@pytest.fixture(scope="session")
def ci_server(endpoint: Server) -> PhimageServer:
    """The endpoint."""
    return server_of(endpoint)


@pytest.fixture
def world(ci_server: PhimageServer) -> Iterator[PhimageWorld]:
    """A world of a test."""
    made = PhimageWorld(ci_server, f"test-{next(_names)}")
    yield made
    ci_server.request("DELETE", f"/ci/w/{made.name}")
