"""The command line, calling a gateway of this process instead of one at an address."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

from phimage.client import ActionResponse, Client, PreparedRequest, _read
from phimage.http_client import ServerResponse
from tests.api.gateway import Gateway
from tests.api.signer import Pair
from tests.commands import Result, run


class CommandLine:
    """Runs commands with a key."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def run(self, pair: Pair, *arguments: str | Path) -> Result:
        """Run a command to its end."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("PHIMAGE_")}
        key = {"PHIMAGE_PUBLIC_KEY": pair.public, "PHIMAGE_PRIVATE_KEY": pair.private, "XDG_CONFIG_HOME": "/nowhere"}
        with patch.dict("os.environ", {**others, **key}, clear=True), self._calling():
            return run(*arguments)

    def well(self, pair: Pair, *arguments: str | Path) -> str:
        """The output of a command that must go well."""
        result = self.run(pair, *arguments)
        assert result.code == 0, result
        return result.out

    @contextmanager
    def _calling(self) -> Iterator[None]:
        def post(_client: Client, request: PreparedRequest) -> ActionResponse:
            parts = urlsplit(request.url)
            reply = self._gateway.send("POST", parts.path, parts.query, list(request.headers.items()), request.body)
            headers = {name.lower(): value for name, value in reply.headers.items()}
            return _read(ServerResponse(reply.status, headers, reply.content), request.url)

        with patch.object(Client, "_post", post):
            yield
