"""The address that a caller found this server at, as URLs that are handed out begin with it."""

from __future__ import annotations

from typing import Any

import pytest

from phimage.http.proxies import TrustedProxies

PROXY, CALLER = "10.0.0.1", "192.0.2.7"


def scope(client: str = CALLER, **headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"scheme": "http", "headers": named, "client": (client, 50_000), "server": ("127.0.0.1", 8080)}


@pytest.mark.parametrize(
    "host", ["images.example", "images.example:8443", "192.0.2.1:443", "[2001:db8::1]:8080", "[::ffff:192.0.2.1]", "a_b-c.d."]
)
def test_it_is_the_host_that_the_caller_asked_for(host: str) -> None:
    assert TrustedProxies().base_url(scope(host=host)) == f"http://{host}"


@pytest.mark.parametrize("host", ["images.example:80", "images.example:", "images.example:00080"])
def test_the_default_port_of_http_is_left_out(host: str) -> None:
    assert TrustedProxies().base_url(scope(host=host)) == "http://images.example"


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "a/b", "a?b", "a#b", "me@evil.example", "a b", "a\\b", "a\r\nX: y", 'a"b', "<a>", "a%2fb", "ärger"),
        *("a:b", "a:80:80", "a:-1", "a:0", "a:65536", "a:999999", ":80", "2001:db8::1", "[2001:db8::1", "2001:db8::1]"),
        *("a[::1]", "[192.0.2.1]", "[]", "[:::]", "[::1]x", "[::1]:x", "[fe80::1%25eth0]"),
        "a" * 256,
    ],
)
def test_a_host_that_is_none_gives_the_servers_own_address(host: str) -> None:
    assert TrustedProxies().base_url(scope(host=host)) == "http://127.0.0.1:8080"


def test_without_any_host_the_servers_own_address_is_given_also_in_ipv6() -> None:
    assert TrustedProxies().base_url(scope()) == "http://127.0.0.1:8080"
    assert TrustedProxies().base_url({**scope(), "server": ("::1", 8080)}) == "http://[::1]:8080"
    assert TrustedProxies().base_url({**scope(), "server": None}) == "http://localhost"


def test_what_a_proxy_says_is_believed_from_trusted_ones_alone() -> None:
    forwarded = {"host": "inner:8080", "x_forwarded_proto": "https", "x_forwarded_host": "images.example"}
    trusting = TrustedProxies(["10.0.0.0/8"])

    assert trusting.base_url(scope(PROXY, **forwarded)) == "https://images.example"
    assert trusting.base_url(scope(f"::ffff:{PROXY}", **forwarded)) == "https://images.example"
    assert trusting.base_url(scope(CALLER, **forwarded)) == "http://inner:8080"
    assert trusting.base_url(scope("nonsense", **forwarded)) == "http://inner:8080"
    assert TrustedProxies().base_url(scope(PROXY, **forwarded)) == "http://inner:8080"


@pytest.mark.parametrize("forwarded", ["https", "https, http"])
def test_of_several_proxies_the_outermost_one_counts(forwarded: str) -> None:
    found = TrustedProxies([PROXY]).base_url(
        scope(PROXY, host="inner", x_forwarded_proto=forwarded, x_forwarded_host="outer.example, middle.example")
    )
    assert found == "https://outer.example"


@pytest.mark.parametrize("proto", ["javascript", "https://evil.example/", "HTTPS;", "file"])
def test_a_scheme_is_http_or_https_whatever_is_forwarded(proto: str) -> None:
    assert (
        TrustedProxies([PROXY]).base_url(scope(PROXY, host="images.example", x_forwarded_proto=proto))
        == "http://images.example"
    )


def test_a_client_that_calls_itself_is_certain_also_where_proxies_are_trusted() -> None:
    for trusting in (TrustedProxies(), TrustedProxies(["127.0.0.1"])):
        assert trusting.certain_client_address(scope("127.0.0.1", host="localhost")) == "127.0.0.1"


@pytest.mark.parametrize(
    "field",
    [
        *("x_forwarded_for", "x_forwarded_proto", "x_forwarded_host", "x_forwarded_port", "x_forwarded", "x_forwarded_server"),
        *("forwarded", "via", "x_real_ip", "x_client_ip", "x_cluster_client_ip", "true_client_ip"),
    ],
)
@pytest.mark.parametrize("value", ["192.0.2.7", "127.0.0.1", ""])
def test_behind_a_proxy_that_is_not_trusted_no_client_is_certain(field: str, value: str) -> None:
    assert TrustedProxies().certain_client_address(scope("127.0.0.1", **{field: value})) == ""
    assert TrustedProxies(["10.0.0.1"]).certain_client_address(scope("127.0.0.1", **{field: value})) == ""


def test_a_proxy_is_another_one_unless_it_is_trusted() -> None:
    trusting = TrustedProxies(["10.0.0.1"])
    assert trusting.passed_another_proxy(scope("127.0.0.1", via="1.1 nginx"))
    assert not trusting.passed_another_proxy(scope("10.0.0.1", via="1.1 nginx"))
    assert not trusting.passed_another_proxy(scope("127.0.0.1"))


def test_a_request_in_http_1_0_passed_a_proxy() -> None:
    assert TrustedProxies().certain_client_address({**scope("127.0.0.1"), "http_version": "1.0"}) == ""
    assert TrustedProxies().certain_client_address({**scope("127.0.0.1"), "http_version": "1.1"}) == "127.0.0.1"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"x_forwarded_for": CALLER}, CALLER),
        ({"x_forwarded_for": f"127.0.0.1, {CALLER}"}, CALLER),
        ({"x_forwarded_for": f"{CALLER}, {PROXY}"}, CALLER),
        ({"x_forwarded_for": "127.0.0.1"}, ""),
        ({"x_forwarded_for": "::1"}, ""),
        ({"x_forwarded_for": PROXY}, ""),
        ({"x_forwarded_for": ""}, ""),
        ({"via": "1.1 proxy"}, ""),
        ({"x_forwarded_proto": "https"}, ""),
    ],
)
def test_a_trusted_proxy_that_states_no_client_makes_none_certain(fields: dict[str, str], expected: str) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).certain_client_address(scope(PROXY, **fields)) == expected


def test_a_proxy_that_passes_on_a_hostile_host_does_no_harm() -> None:
    found = TrustedProxies([PROXY]).base_url(scope(PROXY, host="inner", x_forwarded_host="evil.example/path?x="))
    assert found == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("proto", "host", "port", "expected"),
    [
        ("https", "images.example", "8443", "https://images.example:8443"),
        ("https", "images.example", "443", "https://images.example"),
        ("https", "images.example", "", "https://images.example"),
        ("https", "images.example", "80", "https://images.example:80"),
        ("https", "images.example:8443", "443", "https://images.example:8443"),
        ("https", "images.example:443", "8443", "https://images.example"),
        ("http", "images.example", "443", "http://images.example:443"),
        ("HTTPS", "[2001:db8::1]", "8443", "https://[2001:db8::1]:8443"),
        ("https", "[2001:db8::1]:9443", "8443", "https://[2001:db8::1]:9443"),
        ("https", "images.example", "8443, 80", "https://images.example:8443"),
        ("https", "images.example", "0", "https://images.example"),
        ("https", "images.example", "65536", "https://images.example"),
        ("https", "images.example", "/evil", "https://images.example"),
        ("https", "images.example", "+443", "https://images.example"),
    ],
)
def test_the_port_is_that_of_the_forwarded_host_then_the_forwarded_one_then_the_default(
    proto: str, host: str, port: str, expected: str
) -> None:
    forwarded = {"x_forwarded_proto": proto, "x_forwarded_host": host, "x_forwarded_port": port}
    assert TrustedProxies([PROXY]).base_url(scope(PROXY, host="phimage", **forwarded)) == expected
    from_another = scope(CALLER, host="phimage", **forwarded)
    assert TrustedProxies([PROXY]).base_url(from_another) == "http://phimage"


def test_the_address_of_the_socket_keeps_its_own_scheme_whatever_a_proxy_states() -> None:
    forwarded = {"x_forwarded_proto": "https", "x_forwarded_host": "a:b", "x_forwarded_port": "8443"}
    assert TrustedProxies([PROXY]).base_url(scope(PROXY, **forwarded)) == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.1.2.3", True)),
        *(("::ffff:10.1.2.3", True), ("192.0.2.1", False), ("2001:db8::1", False), ("", False)),
    ],
)
def test_this_machine_and_trusted_proxies_are_known_by_their_addresses(address: str, expected: bool) -> None:
    assert TrustedProxies(["10.0.0.0/8"]).is_local_or_proxy(address) is expected
