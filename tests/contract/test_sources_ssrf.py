"""Nobody reads through phimage what only it can reach (field notes, T13; Glance LP 2138602).

A canary listens on loopback and on IPv6's loopback; no URL, given or redirected to, may ever reach it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from phimage.sources.address_policy import AddressPolicy, Resolver, read_address_policy
from phimage.sources.digest import FIRST_USE
from phimage.sources.errors import ResponseRefused, SourceError, SourceInterrupted, UrlRefused
from phimage.sources.fetch import Fetcher
from phimage.sources.http import HttpClient
from phimage.sources.response import HttpTimeouts
from phimage.sources.retry import Retry
from phimage.sources.sniff import FetchLimits
from phimage.sources.url import read_url
from tests.unit.sources.server import Exchange, FileServed, Server
from tests.unit.sources.tls import Authority
from tests.uploading import reserved_port

GOOD = "127.0.0.2"
"""The one address that the operator of these tests allows: it plays the public internet."""

BYTES = bytes(range(256)) * 64

FORBIDDEN = [
    ("http://127.0.0.1:{port}/", "address"),
    ("http://127.0.0.3:{port}/", "address"),
    ("http://127.255.255.254:{port}/", "address"),
    ("http://0.0.0.0:{port}/", "address"),
    ("http://localhost:{port}/", "address"),
    ("http://LOCALHOST.:{port}/", "address"),
    ("http://canary.example:{port}/", "address"),
    ("http://both.example:{port}/", "address"),
    ("http://mapped.example:{port}/", "address"),
    ("http://scoped.example:{port}/", "address"),
    ("http://2130706433:{port}/", "notation"),
    ("http://0x7f000001:{port}/", "notation"),
    ("http://0X7F.0.0.1:{port}/", "notation"),
    ("http://0x7f.1:{port}/", "notation"),
    ("http://0177.0.0.1:{port}/", "notation"),
    ("http://00000177.0.0.1:{port}/", "notation"),
    ("http://017700000001:{port}/", "notation"),
    ("http://127.1:{port}/", "notation"),
    ("http://127.0.1:{port}/", "notation"),
    ("http://0:{port}/", "notation"),
    ("http://127.0.0.1.:{port}/", "notation"),
    ("http://[::1]:{port}/", "address"),
    ("http://[::]:{port}/", "address"),
    ("http://[0:0:0:0:0:0:0:1]:{port}/", "address"),
    ("http://[::ffff:127.0.0.1]:{port}/", "address"),
    ("http://[::ffff:7f00:1]:{port}/", "address"),
    ("http://[::127.0.0.1]:{port}/", "address"),
    ("http://[64:ff9b::127.0.0.1]:{port}/", "address"),
    ("http://[2002:7f00:1::]:{port}/", "address"),
    ("http://[fe80::1%25lo]:{port}/", "host"),
    ("http://169.254.169.254/latest/meta-data/", "address"),
    ("http://100.100.100.200/latest/meta-data/", "address"),
    ("http://10.0.0.1/", "address"),
    ("http://192.168.1.1/", "address"),
    ("http://172.16.0.1/", "address"),
    ("http://224.0.0.1/", "address"),
    ("http://user:secret@127.0.0.2:{port}/", "credentials"),
    ("http://127.0.0.2@127.0.0.1:{port}/", "credentials"),
    ("http://127.0.0.2\\@127.0.0.1:{port}/", "letters"),
    ("http://127.0.0.2:80#@127.0.0.1:{port}/", "port"),
    ("http://127.0.0.1:{port}\t/", "letters"),
    ("http://①②⑦.⓪.⓪.①:{port}/", "host"),
    ("http://127%2e0%2e0%2e1:{port}/", "host"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://127.0.0.1:{port}/_GET%20/", "scheme"),
    ("unix:///var/run/docker.sock", "scheme"),
    ("http+unix://%2Fvar%2Frun%2Fdocker.sock/", "scheme"),
    ("ftp://127.0.0.1:{port}/", "scheme"),
    ("dict://127.0.0.1:{port}/info", "scheme"),
    ("data:application/octet-stream;base64,AAAA", "scheme"),
]

TLS = ssl.create_default_context()  # reading the system's certificates takes a while

NAMES = {
    "good.example": [GOOD],
    "canary.example": ["127.0.0.1"],
    "localhost": ["::1", "127.0.0.1"],
    "both.example": [GOOD, "127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "scoped.example": ["fe80::1%lo"],
}


def resolve(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return NAMES[host]


@contextmanager
def port_of_both() -> Iterator[int]:
    """A port that nobody else gets, on loopback and on the good address: DNS rebinding changes the address alone."""
    while True:
        with reserved_port() as one:
            port: int = one.getsockname()[1]
            try:
                other = reserved_port(GOOD, port)
            except OSError:
                continue
            with other:
                yield port
            return


@pytest.fixture(scope="module")
def canary() -> Iterator[Server]:
    """A server that must not be reached. Its port is the one in the URLs."""
    with port_of_both() as port, Server(FileServed(BYTES), "127.0.0.1", port=port) as server:
        yield server
        assert server.connections == 0


def web(*, resolve: Resolver = resolve, ports: Sequence[int] = (), tls: ssl.SSLContext | None = None) -> HttpClient:
    policy = read_address_policy([f"{GOOD}/32"], ports)
    return HttpClient(policy, resolve=resolve, timeouts=HttpTimeouts(connect=60, head=60, stall=60), tls=tls or TLS)


def fetcher(web: HttpClient) -> Fetcher:
    return Fetcher(web, FetchLimits(min_free=0), Retry(tries=2), sleep=lambda seconds: None)


@pytest.mark.parametrize(("text", "reason"), FORBIDDEN)
def test_a_forbidden_url_is_refused_before_anything_is_sent(canary: Server, tmp_path: Path, text: str, reason: str) -> None:
    text = text.format(port=canary.port)
    ports = [canary.port, 443] if reason == "port" else []
    with pytest.raises(UrlRefused) as refused:
        fetcher(web(ports=ports)).fetch(text, tmp_path / "work", FIRST_USE)
    assert refused.value.reason == reason
    assert "secret" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [] or reason in ("address", "port")
    assert canary.connections == 0


@pytest.mark.parametrize(("text", "reason"), FORBIDDEN)
def test_a_redirect_there_is_refused_as_well(canary: Server, text: str, reason: str) -> None:
    text = text.format(port=canary.port)
    with Server(lambda exchange: exchange.answer(302, b"", {"Location": text.encode().decode("latin-1")}), GOOD) as server:
        ports = [server.port, canary.port] if reason == "port" else []
        with pytest.raises(UrlRefused, match="it redirects to") as refused:
            web(ports=ports).get(read_url(server.url(host="good.example")))
    assert refused.value.reason == reason
    assert "secret" not in str(refused.value)
    assert canary.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_checked(canary: Server, status: int) -> None:
    with Server(lambda exchange: exchange.answer(status, b"", {"Location": canary.url()}), GOOD) as server:
        with pytest.raises(UrlRefused, match="loopback"):
            web().get(read_url(server.url(host="good.example")))
        assert len(server.requests) == 1
    assert canary.connections == 0


def test_a_resumed_fetch_is_checked_like_the_first(canary: Server, tmp_path: Path) -> None:
    """The second request goes to the same server, which now redirects inside."""
    served = FileServed(BYTES, cuts=[5000])

    def turncoat(exchange: Exchange) -> None:
        if exchange.request.start is None:
            served(exchange)
        else:
            exchange.answer(302, b"", {"Location": canary.url("/secret")})

    with Server(turncoat, GOOD) as server, pytest.raises(UrlRefused, match="loopback"):
        fetcher(web()).fetch(server.url(), tmp_path / "work", FIRST_USE)
    assert canary.connections == 0


def test_a_name_is_resolved_once_and_the_connection_goes_where_was_checked(canary: Server, tmp_path: Path) -> None:
    """DNS rebinding: the second resolution of the name is loopback."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return [GOOD] if len(asked) == 1 else ["127.0.0.1"]

    served = FileServed(BYTES, cuts=[5000])
    with Server(served, GOOD, port=canary.port) as server:
        with pytest.raises(UrlRefused, match=r"rebind\.example is 127\.0\.0\.1, which is not a public address"):
            fetcher(web(resolve=rebinding)).fetch(server.url(host="rebind.example"), tmp_path / "work", FIRST_USE)
        assert [request.fields["host"] for request in server.requests] == [f"rebind.example:{server.port}"]
    assert len(asked) == 2  # one for each request
    assert canary.connections == 0


def test_each_hop_of_a_redirect_is_resolved_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def counting(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return [GOOD]

    def handler(exchange: Exchange) -> None:
        if exchange.request.path == "/two":
            exchange.answer(200, BYTES)
        else:
            exchange.answer(302, b"", {"Location": f"//second.example:{server.port}/two"})

    with Server(handler, GOOD) as server:
        fetched = fetcher(web(resolve=counting)).fetch(server.url("/one", host="first.example"), tmp_path / "work", FIRST_USE)
    assert asked == ["first.example", "second.example"]
    assert fetched.path.read_bytes() == BYTES
    assert fetched.name == "one"


def test_thirty_redirects_are_too_many_and_five_are_not() -> None:
    def handler(exchange: Exchange) -> None:
        left = int(exchange.request.path[1:])
        if left:
            exchange.answer(302, b"page", {"Location": f"/{left - 1}"})
        else:
            exchange.answer(200, BYTES)

    with Server(handler, GOOD) as server:
        with web().get(read_url(server.url("/5"))) as answer:
            assert answer.status == 200
            assert answer.url.path == "/0"
        server.requests.clear()
        with pytest.raises(UrlRefused, match="more than 5 redirects"):
            web().get(read_url(server.url("/30")))
        assert len(server.requests) == 6


@pytest.mark.parametrize("location", ["", "   "])
def test_a_redirect_to_nowhere_is_refused(location: str) -> None:
    with (
        Server(lambda exchange: exchange.answer(302, b"", {"Location": location}), GOOD) as server,
        pytest.raises(ResponseRefused, match="redirect has no Location"),
    ):
        web().get(read_url(server.url()))


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_what_is_no_redirect_is_not_followed(status: int, tmp_path: Path) -> None:
    with (
        Server(lambda exchange: exchange.answer(status, b"", {"Location": "http://127.0.0.1/"}), GOOD) as server,
        pytest.raises(ResponseRefused, match=f"HTTP {status}"),
    ):
        fetcher(web()).fetch(server.url(), tmp_path / "work", FIRST_USE)


def test_proxies_and_passwords_of_the_environment_are_not_used(
    canary: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, canary.url("/"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text(f"machine {GOOD} login me password secret\n")
    with Server(FileServed(BYTES), GOOD) as server:
        fetcher(web()).fetch(server.url(), tmp_path / "work", FIRST_USE)
        (request,) = server.requests
    assert request.path == "/disk.img"
    assert set(request.fields) == {"host", "user-agent", "accept", "accept-encoding", "connection"}
    assert request.fields["accept-encoding"] == "identity"


def test_nothing_of_a_url_can_become_a_field_of_the_request() -> None:
    with Server(FileServed(BYTES), GOOD) as server:
        for path in ("/a%0d%0aX-Evil:%201", "/镜像 ".strip() + "?q=%00"):
            with web().get(read_url(server.url(path))):
                pass
        assert all("x-evil" not in request.fields for request in server.requests)
        assert [request.path for request in server.requests] == ["/a%0d%0aX-Evil:%201", "/%E9%95%9C%E5%83%8F?q=%00"]


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"-ERR unknown command\r\n", b"220 mail\r\n", b"\0\1\2\3"])
def test_what_does_not_speak_http_is_told(greeting: bytes) -> None:
    with (
        Server(lambda exchange: exchange.send(greeting), GOOD) as server,
        pytest.raises(SourceError, match="does not speak HTTP"),
    ):
        web().get(read_url(server.url()))


# TLS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_tls_is_verified_for_the_name_while_the_connection_goes_to_the_address(authority: Authority, tmp_path: Path) -> None:
    with Server(FileServed(BYTES), GOOD, tls=authority.server("good.example")) as server:
        fetched = fetcher(web(tls=authority.client())).fetch(server.url(host="good.example"), tmp_path / "work", FIRST_USE)
        assert fetched.path.read_bytes() == BYTES
        assert authority.asked == ["good.example"]
        assert server.requests[0].fields["host"] == f"good.example:{server.port}"


def test_an_address_in_the_url_needs_a_certificate_of_its_own(authority: Authority) -> None:
    with (
        Server(FileServed(BYTES), GOOD, tls=authority.server(GOOD)) as server,
        web(tls=authority.client()).get(read_url(server.url())) as answer,
    ):
        assert answer.status == 200
    with (
        Server(FileServed(BYTES), GOOD, tls=authority.server("good.example")) as server,
        pytest.raises(ResponseRefused, match="certificate"),
    ):
        web(tls=authority.client()).get(read_url(server.url()))


@pytest.mark.parametrize("name", ["evil.example", "*.example.org", GOOD])
def test_a_certificate_of_another_name_is_refused(authority: Authority, name: str) -> None:
    with Server(FileServed(BYTES), GOOD, tls=authority.server(name)) as server:
        with pytest.raises(ResponseRefused, match=r"the certificate of good\.example is not valid") as refused:
            web(tls=authority.client()).get(read_url(server.url(host="good.example")))
        assert server.requests == []
    assert refused.value.reason == "certificate"


def test_an_unknown_authority_is_refused_by_default(authority: Authority) -> None:
    with (
        Server(FileServed(BYTES), GOOD, tls=authority.server("good.example")) as server,
        pytest.raises(ResponseRefused, match="certificate"),
    ):
        web().get(read_url(server.url(host="good.example")))


def test_plain_http_on_the_port_of_tls_is_told(authority: Authority) -> None:
    asking = HttpClient(read_address_policy([f"{GOOD}/32"], []), timeouts=HttpTimeouts(connect=0.2), tls=authority.client())
    with Server(FileServed(BYTES), GOOD) as server, pytest.raises(SourceInterrupted, match="cannot be reached"):
        asking.get(read_url(server.url().replace("http:", "https:")))


@pytest.mark.parametrize("start", [b"", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"], ids=["silent", "hello"])
def test_a_handshake_that_drips_is_cut_off(authority: Authority, start: bytes) -> None:
    asking = HttpClient(read_address_policy([f"{GOOD}/32"], []), timeouts=HttpTimeouts(connect=0.3), tls=authority.client())

    def handler(exchange: Exchange) -> None:
        exchange.send(start)
        exchange.drip(bytes(10_000))

    with Server(handler, GOOD, mute=True) as server:
        begun = time.monotonic()
        with pytest.raises(SourceInterrupted, match="cannot be reached"):
            asking.get(read_url(server.url().replace("http:", "https:")))
        assert time.monotonic() - begun < 60


def test_https_leads_to_http_only_where_a_digest_proves_the_bytes(authority: Authority) -> None:
    with (
        Server(FileServed(BYTES), GOOD) as plain,
        Server(lambda exchange: exchange.answer(302, b"", {"Location": plain.url()}), GOOD, authority.server(GOOD)) as server,
    ):
        asking = web(tls=authority.client())
        with pytest.raises(UrlRefused, match="it redirects from https to http") as refused:
            asking.get(read_url(server.url()))
        assert refused.value.reason == "downgrade"
        assert plain.requests == []
        with asking.get(read_url(server.url()), downgrade=True) as answer:
            assert answer.status == 200


def test_the_default_policy_reaches_nothing_here(canary: Server) -> None:
    with pytest.raises(UrlRefused):
        HttpClient(AddressPolicy(ports=frozenset())).get(read_url(canary.url()))
