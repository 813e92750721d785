"""Which URLs and addresses a server may fetch from, so that nobody reads through it what only it can reach.

A name is resolved once, every address of it is checked, and the connection goes to a checked address (`web.py`): a name
that answers differently the next time (DNS rebinding) gains nothing. Each redirect is a new URL and passes here again.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from phimage.errors import SetupError
from phimage.sources.address import Address, Network, plain, special
from phimage.sources.errors import AnswerRefused, SourceBroken, UrlRefused
from phimage.sources.url import Url

Resolve = Callable[[str, int], Sequence[str]]
"""Addresses of a name, best first. Raises OSError (`socket.gaierror`) when there are none."""

MAX_TRIED: Final = 8
"""To how many addresses of a name a connection is tried."""


class Policy(Struct, frozen=True):
    """What may be fetched. Beside the public internet: `networks`. No other ports than `ports`; none given means any.

    Ports 80 and 443 are the default because any other lets a URL speak to services that are not web servers, here or at a
    third party's. An operator with a mirror elsewhere names its port, and its network when it is not public.
    """

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({80, 443})
    redirects: int = 5

    def check_port(self, url: Url) -> None:
        """Raises UrlRefused when the port is not allowed."""
        if self.ports and url.port not in self.ports:
            allowed = ", ".join(map(str, sorted(self.ports)))
            remedy = "ask the operator of this server to allow the port"
            raise UrlRefused(url.shown, f"port {url.port} is not allowed, only {allowed}", remedy, reason="port")

    def check_address(self, url: Url, address: Address) -> None:
        """Raises UrlRefused when an address is not on the public internet, and its network is not allowed."""
        found = special(address)
        if found and not any(address in network for network in self.networks):
            whose = str(address) if str(address) == url.host else f"{url.host} is {address}, which"
            remedy = "ask the operator of this server to allow the network"
            raise UrlRefused(url.shown, f"{whose} is not a public address ({found})", remedy, reason="address")

    def admit(self, url: Url, resolve: Resolve) -> tuple[str, ...]:
        """The addresses to connect to, best first. Raises UrlRefused when a single one is forbidden.

        Raises SourceBroken when the name could not be resolved now, AnswerRefused when it does not exist.
        """
        self.check_port(url)
        literal = url.address
        if literal is not None:
            addresses = [plain(literal)]
        else:
            addresses = [plain(ipaddress.ip_address(text)) for text in _resolved(url, resolve)]
        for address in addresses:
            self.check_address(url, address)
        return tuple(dict.fromkeys(map(str, addresses)))[:MAX_TRIED]


def read_policy(networks: Iterable[str] = (), ports: Iterable[int] = (80, 443)) -> Policy:
    """A policy as settings have it. Raises SetupError for what is no network (`10.1.0.0/16`) or no port."""
    found: list[Network] = []
    for text in networks:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise SetupError(f"{text!r} is not a network such as 10.1.0.0/16: {error}") from None
    allowed = frozenset(ports)
    for port in allowed:
        if not 0 < port < 65536:
            raise SetupError(f"there is no port {port}")
    return Policy(tuple(found), allowed)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses that this machine's resolver gives, in its order."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)]


def _resolved(url: Url, resolve: Resolve) -> Sequence[str]:
    try:
        found = resolve(url.host, url.port)
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno not in (socket.EAI_AGAIN, socket.EAI_SYSTEM):
            found = ()
        else:
            raise SourceBroken(url.shown, f"the name {url.host} cannot be resolved now", reason="name") from None
    except UnicodeError:
        found = ()
    if not found:
        raise AnswerRefused(url.shown, f"there is no host {url.host}", "check the URL", reason="name")
    return found
