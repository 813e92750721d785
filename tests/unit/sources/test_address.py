"""Public and special-purpose addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.sources.address_policy import special_purpose, unmapped

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "198.20.0.1",
    "223.255.255.255",
]
PUBLIC_V6 = [
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "2001:4860:4860::8888",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("text", [*PUBLIC, *PUBLIC_V6])
def test_public_addresses_are_nothing_special(text: str) -> None:
    assert special_purpose(unmapped(ipaddress.ip_address(text))) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.255.255.255", "private"),
        ("100.100.100.200", "shared"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "cloud"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "protocols"),
        ("192.88.99.1", "6to4"),
        ("192.168.1.1", "private"),
        ("198.19.0.1", "benchmarks"),
        ("203.0.113.9", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::7f00:1", "IPv4-compatible of 127.0.0.1, loopback"),
        ("::ffff:0:10.0.0.1", "IPv4-translated of 10.0.0.1, private"),
        ("64:ff9b::10.0.0.1", "NAT64 of 10.0.0.1, private"),
        ("64:ff9b::169.254.169.254", "NAT64 of 169.254.169.254, link-local"),
        ("64:ff9b:1::8.8.8.8", "private translation"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
        ("2001:db8::1", "documentation"),
        ("2001:2::1", "protocols"),
        ("2606:4700::5efe:10.0.0.1", "ISATAP of 10.0.0.1"),
        ("2606:4700::200:5efe:127.0.0.1", "ISATAP of 127.0.0.1"),
        ("3fff::1", "documentation"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("100::1", "discarding"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ],
)
def test_every_other_address_is_told_by_what_it_is(text: str, found: str) -> None:
    assert found in special_purpose(unmapped(ipaddress.ip_address(text)))


@given(st.ip_addresses(v=4))
def test_what_python_calls_not_global_is_special_here_too(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert special_purpose(address)


@given(st.ip_addresses(v=6))
def test_what_python_calls_not_global_is_special_here_too_in_ipv6(address: ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast:
        assert special_purpose(unmapped(address))


@given(st.ip_addresses(v=4))
def test_an_address_inside_of_another_is_judged_as_itself(inner: ipaddress.IPv4Address) -> None:
    for outer in (f"::ffff:{inner}", f"64:ff9b::{inner}"):
        assert bool(special_purpose(unmapped(ipaddress.ip_address(outer)))) == bool(special_purpose(inner))


def test_a_mapped_address_is_the_address_itself() -> None:
    assert unmapped(ipaddress.ip_address("::ffff:10.0.0.1")) == ipaddress.ip_address("10.0.0.1")
