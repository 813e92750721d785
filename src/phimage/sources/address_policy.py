"""The policy of fetching: which URLs and addresses are allowed, so that no caller reads internal services through the server.

A name is resolved once, each of its addresses is checked, and the connection goes to a checked address (`http.py`), so a name
that resolves differently the next time (DNS rebinding) gains nothing. Each redirect is a new URL and is checked again.

Addresses outside the public internet follow the IANA registries of special-purpose addresses (RFC 6890). The lists are kept
here because those of Python's `ipaddress` differ between the supported versions of Python.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from msgspec import Struct

from phimage.errors import SetupError
from phimage.sources.errors import ResponseRefused, SourceInterrupted, UrlRefused
from phimage.sources.url import Url

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

V4: Final = tuple(
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers, where clouds also keep their metadata"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "reserved, a former 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)

V6: Final = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "a private translation to IPv4"),
        ("100::/64", "for discarding"),
        ("2001::/32", "a Teredo tunnel"),
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a 6to4 tunnel"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)

PUBLIC_V6: Final = IPv6Network("2000::/3")
"""The allocated part of IPv6; the rest is reserved."""

EMBEDDING: Final = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
    )
)
"""Networks whose addresses embed an IPv4 address in the last 32 bits."""


def unmapped(address: Address) -> Address:
    """The address without an IPv4 mapping (`::ffff:10.0.0.1` becomes 10.0.0.1) and without a scope."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def special_purpose(address: Address) -> str:
    """The purpose of an address outside the public internet; "" for a public one."""
    if isinstance(address, IPv4Address):
        return next((name for network, name in V4 if address in network), "")
    for network, name in V6:
        if address in network:
            return name
    for network, name in EMBEDDING:
        if address in network:
            return _embedded(address, name)
    if address not in PUBLIC_V6:
        return "reserved"
    if int(address) >> 32 & 0xFDFFFFFF == 0x00005EFE:
        return _embedded(address, "ISATAP")
    return ""


def _embedded(address: IPv6Address, name: str) -> str:
    inner = IPv4Address(int(address) & 0xFFFFFFFF)
    purpose = special_purpose(inner)
    return f"{name} of {inner}, {purpose}" if purpose else ""


Resolver = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a name, best first. Raises OSError (`socket.gaierror`) when there are none."""

_DOWNLOAD: Final = "give another URL, or download the file and publish that"

MAX_TRIED: Final = 8
"""Max addresses of a name to which a connection is attempted."""


class AddressPolicy(Struct, frozen=True):
    """Allowed targets: the public internet and `networks`, at `ports` (any port when empty), after up to `redirects` redirects.

    Only ports 80 and 443 by default, because other ports let a URL reach services that are not web servers, inside or at third
    parties. An operator with a mirror elsewhere adds its port, and its network when that is not public.

    With `hides_addresses`, a refusal does not say whether and to which address a name resolves here.
    """

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({80, 443})
    redirects: int = 5
    hides_addresses: bool = False

    def check_url(self, url: Url) -> None:
        """Check what needs no resolver: the port, and an address in place of a name. Raises UrlRefused."""
        self.check_port(url)
        if url.address is not None:
            self.check_address(url, unmapped(url.address))

    def check_port(self, url: Url) -> None:
        """Raises UrlRefused unless the port is allowed."""
        if self.ports and url.port not in self.ports:
            allowed = ", ".join(map(str, sorted(self.ports)))
            remedy = _DOWNLOAD if self.hides_addresses else "ask the operator of this server to allow the port"
            raise UrlRefused(url.shown, f"port {url.port} is not allowed, only {allowed}", remedy, reason="port")

    def check_address(self, url: Url, address: Address) -> None:
        """Raises UrlRefused unless the address is public or in an allowed network."""
        purpose = special_purpose(address)
        if not purpose or any(address in network for network in self.networks):
            return
        if self.hides_addresses:
            raise _not_public(url)
        subject = str(address) if str(address) == url.host else f"{url.host} is {address}, which"
        remedy = "ask the operator of this server to allow the network"
        raise UrlRefused(url.shown, f"{subject} is not a public address ({purpose})", remedy, reason="address")

    def resolve(self, url: Url, resolve: Resolver) -> tuple[str, ...]:
        """The addresses to connect to, best first. Raises UrlRefused if any of them is forbidden.

        Raises SourceInterrupted when the name cannot be resolved at the moment, ResponseRefused when it does not exist.
        """
        self.check_port(url)
        literal = url.address
        if literal is not None:
            addresses = [unmapped(literal)]
        else:
            addresses = [unmapped(ipaddress.ip_address(text)) for text in self._resolved(url, resolve)]
        for address in addresses:
            self.check_address(url, address)
        return tuple(dict.fromkeys(map(str, addresses)))[:MAX_TRIED]

    def _resolved(self, url: Url, resolve: Resolver) -> Sequence[str]:
        try:
            return _resolved(url, resolve)
        except ResponseRefused:
            if self.hides_addresses:  # the same answer as for a name that exists inside alone
                raise _not_public(url) from None
            raise


# docs/decisions.md#tenants-fetch-from-the-public-internet-alone
PUBLIC_INTERNET: Final = AddressPolicy(hides_addresses=True)
"""The policy for the URLs of tenants, whatever the settings allow to operators."""


def read_address_policy(networks: Iterable[str] = (), ports: Iterable[int] = (80, 443)) -> AddressPolicy:
    """Build a policy from settings. Raises SetupError for an invalid network (`10.1.0.0/16` is valid) or port."""
    parsed: list[Network] = []
    for text in networks:
        try:
            parsed.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise SetupError(f"{text!r} is not a network such as 10.1.0.0/16: {error}") from None
    allowed = frozenset(ports)
    for port in allowed:
        if not 0 < port < 65536:
            raise SetupError(f"there is no port {port}; give a number from 1 to 65535")
    return AddressPolicy(tuple(parsed), allowed)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses that the operating system's resolver returns, in its order."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)]


def _not_public(url: Url) -> UrlRefused:
    return UrlRefused(url.shown, f"{url.host} is not on the public internet", _DOWNLOAD, reason="address")


def _resolved(url: Url, resolve: Resolver) -> Sequence[str]:
    try:
        addresses = resolve(url.host, url.port)
    except OSError as error:
        if isinstance(error, socket.gaierror) and error.errno not in (socket.EAI_AGAIN, socket.EAI_SYSTEM):
            addresses = ()
        else:
            raise SourceInterrupted(url.shown, f"the name {url.host} cannot be resolved at the moment", reason="name") from None
    except UnicodeError:
        addresses = ()
    if not addresses:
        raise ResponseRefused(url.shown, f"there is no host {url.host}", "check the URL", reason="name")
    return addresses
