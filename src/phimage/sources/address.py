"""Addresses that are not on the public internet, by the IANA registries of special-purpose addresses (RFC 6890).

The lists are ours because those of Python's `ipaddress` differ between the versions that phimage runs on.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

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
"""All of IPv6 that is given out; the rest is reserved until it is."""

EMBEDDING: Final = tuple(
    (IPv6Network(network), name)
    for network, name in (
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
    )
)
"""Networks whose addresses end in one of IPv4."""


def plain(address: Address) -> Address:
    """The address itself, without a mapping (`::ffff:10.0.0.1` is 10.0.0.1) and without a scope."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))


def special(address: Address) -> str:
    """What an address is that is not on the public internet; "" for those that are."""
    if isinstance(address, IPv4Address):
        return next((name for network, name in V4 if address in network), "")
    for network, name in V6:
        if address in network:
            return name
    for network, name in EMBEDDING:
        if address in network:
            return _inside(address, name)
    if address not in PUBLIC_V6:
        return "reserved"
    if int(address) >> 32 & 0xFDFFFFFF == 0x00005EFE:
        return _inside(address, "ISATAP")
    return ""


def _inside(address: IPv6Address, name: str) -> str:
    inside = IPv4Address(int(address) & 0xFFFFFFFF)
    found = special(inside)
    return f"{name} of {inside}, {found}" if found else ""
