"""The policy of URLs and addresses that may be fetched."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from phimage.errors import SetupError
from phimage.sources.address_policy import MAX_TRIED, AddressPolicy, Resolver, read_address_policy
from phimage.sources.errors import ResponseRefused, SourceInterrupted, UrlRefused
from phimage.sources.url import read_url


def answering(*addresses: str) -> Resolver:
    return lambda host, port: addresses


def failing(error: OSError) -> Resolver:
    def resolve(host: str, port: int) -> Sequence[str]:
        raise error

    return resolve


def test_public_addresses_are_given_in_their_order_and_once() -> None:
    resolve = answering("2606:4700::1", "1.1.1.1", "2606:4700::1")

    assert AddressPolicy().resolve(read_url("http://mirror.example/"), resolve) == ("2606:4700::1", "1.1.1.1")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1%eth0", "0.0.0.0"]
)
@pytest.mark.parametrize("others", [(), ("1.1.1.1",), ("1.1.1.1", "2606:4700::1")])
def test_one_forbidden_address_forbids_the_name(address: str, others: tuple[str, ...]) -> None:
    for addresses in ((address, *others), (*others, address)):
        with pytest.raises(UrlRefused, match="is not a public address") as refused:
            AddressPolicy().resolve(read_url("http://mirror.example/"), answering(*addresses))
        assert refused.value.reason == "address"
        assert "mirror.example" in str(refused.value)


def test_every_address_is_checked_but_only_some_are_tried() -> None:
    public = [f"1.1.1.{number}" for number in range(1, 100)]

    assert len(AddressPolicy().resolve(read_url("http://h/"), answering(*public))) == MAX_TRIED
    with pytest.raises(UrlRefused):
        AddressPolicy().resolve(read_url("http://h/"), answering(*public, "10.0.0.1"))


def test_an_address_in_the_url_is_not_resolved() -> None:
    assert AddressPolicy().resolve(read_url("http://1.1.1.1/"), failing(OSError())) == ("1.1.1.1",)
    with pytest.raises(UrlRefused, match=r"127\.0\.0\.1 is not a public address \(loopback\)"):
        AddressPolicy().resolve(read_url("http://127.0.0.1/"), failing(OSError()))


def test_an_allowed_network_is_allowed_in_every_notation_of_its_addresses() -> None:
    policy = read_address_policy(["10.1.0.0/16", "fd00::/8"])

    assert policy.resolve(read_url("http://10.1.2.3/"), answering()) == ("10.1.2.3",)
    assert policy.resolve(read_url("http://[::ffff:10.1.2.3]/"), answering()) == ("10.1.2.3",)
    assert policy.resolve(read_url("http://h/"), answering("10.1.2.3", "fd00::1", "1.1.1.1")) == (
        "10.1.2.3",
        "fd00::1",
        "1.1.1.1",
    )


@pytest.mark.parametrize("address", ["10.2.0.1", "64:ff9b::10.1.2.3", "2002:a01:203::1", "127.0.0.1", "fc00::1"])
def test_an_allowed_network_allows_no_other_and_no_tunnel_into_it(address: str) -> None:
    with pytest.raises(UrlRefused):
        read_address_policy(["10.1.0.0/16", "fd00::/8"]).resolve(read_url("http://h/"), answering(address))


@pytest.mark.parametrize("port", [22, 25, 6379, 8080, 65535])
def test_other_ports_than_those_of_the_web_are_refused_unless_allowed(port: int) -> None:
    url = read_url(f"http://1.1.1.1:{port}/")

    with pytest.raises(UrlRefused, match=f"port {port} is not allowed, only 80, 443"):
        AddressPolicy().resolve(url, answering())
    assert read_address_policy(ports=[80, port]).resolve(url, answering()) == ("1.1.1.1",)
    assert read_address_policy(ports=[]).resolve(url, answering()) == ("1.1.1.1",)


def test_a_name_that_does_not_exist_is_told_from_a_resolver_that_does_not_answer() -> None:
    url = read_url("http://mirror.example/")

    with pytest.raises(ResponseRefused, match=r"there is no host mirror\.example"):
        AddressPolicy().resolve(url, failing(socket.gaierror(socket.EAI_NONAME, "no name")))
    with pytest.raises(ResponseRefused):
        AddressPolicy().resolve(url, answering())
    with pytest.raises(SourceInterrupted, match="cannot be resolved at the moment"):
        AddressPolicy().resolve(url, failing(socket.gaierror(socket.EAI_AGAIN, "later")))
    with pytest.raises(SourceInterrupted):
        AddressPolicy().resolve(url, failing(TimeoutError()))


@pytest.mark.parametrize("network", ["10.0.0.1/8", "mirror.example", "", "10.0.0.0/33"])
def test_what_is_no_network_is_told_to_the_operator(network: str) -> None:
    with pytest.raises(SetupError, match="is not a network such as"):
        read_address_policy([network])


def test_what_is_no_port_is_told_to_the_operator() -> None:
    with pytest.raises(SetupError, match="there is no port 0"):
        read_address_policy(ports=[0])
