"""Programs on the pages of clients that cannot be installed here: one connection for all, and what the clients really send."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from phimage import demo
from phimage.demo_steps import ENDPOINT
from phimage.gateway.params import read_params
from tests.api.gateway import Gateway
from tests.api.recording import recordings

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
CONNECTION = (ENDPOINT, demo.REGION, demo.PROJECTS_OF_DEMO[0][0], demo.PUBLIC_KEY, demo.PRIVATE_KEY.reveal())
"""What every client is given: that of the demonstration."""


class ClientPage(Struct, frozen=True):
    """A page of a client: the language of its program, the names of its recordings, and how its program names parameters.

    `arguments` matches a name and a value. `names` are parameters that the client calls otherwise.
    """

    language: str
    recordings: str
    arguments: str
    names: dict[str, str] = {}
    block: int = 0


CLIENTS = {
    "go-sdk": ClientPage("go", "go-", r"request\.(\w+) = ucloud\.\w+\(\"?(.+?)\"?\)"),
    "java-sdk": ClientPage("java", "jv-", r"request\.set(\w+)\(\"?(.+?)\"?\)"),
    "javascript-sdk": ClientPage("js", "js-", r"(?<=[{ ])([A-Z]\w+): '?([\w-]+)'?"),
    "php-sdk": ClientPage("php", "php-", r"request->set(\w+)\(\"?(.+?)\"?\)"),
    "terraform": ClientPage("hcl", "tf-", r"(availability_zone) += \"(.+?)\"", {"availability_zone": "Zone"}),
    "ucloud-cli": ClientPage("sh", "cli-", r"--(Region|Zone|Limit) (\S+)", block=1),
}


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / f"{page}.md").read_text("utf-8")
    return [block for name, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if name == language]


def sent_names(prefix: str) -> Iterator[str]:
    """The names of the parameters in the recordings of a client."""
    for name, request in recordings().items():
        if name.startswith(prefix):
            kind = dict(request.headers).get("Content-Type", "")
            yield from read_params(request.method, kind, request.query, request.body)


@pytest.mark.parametrize("page", CLIENTS)
def test_the_program_of_a_page_has_the_connection_of_the_demonstration(page: str) -> None:
    program = "\n".join(block for block in blocks(page, CLIENTS[page].language) if demo.PUBLIC_KEY in block)

    for value in CONNECTION:
        assert re.search(rf"(?<![\w.-]){re.escape(value)}(?![\w.-])", program), value


@pytest.mark.parametrize("page", CLIENTS)
def test_the_program_of_a_page_sends_what_its_client_was_seen_to_send_and_gets_images(page: str, gateway: Gateway) -> None:
    client = CLIENTS[page]
    written = re.findall(client.arguments, blocks(page, client.language)[client.block])
    params = {client.names.get(name, name): value for name, value in written}

    assert params["Zone"] == demo.ZONE
    assert params.keys() <= set(sent_names(client.recordings))
    reply = gateway.ask("DescribePHostImage", {"Region": demo.REGION, **params})
    assert reply.ret_code == 0
    assert reply.fields["ImageSet"]
