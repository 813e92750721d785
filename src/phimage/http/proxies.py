"""The client's address and the URL it used: from the connection, or from the header fields of trusted proxies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from phimage.http.asgi import Message

_AUTHORITY = re.compile(r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ADDED_BY_PROXIES = frozenset((b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"))
"""Fields beside X-Forwarded-*: a request that has one passed a proxy."""


class TrustedProxies:
    """Reads addresses from requests. Trusts the X-Forwarded-* fields of proxies in the given networks only."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(network) for network in networks)

    def client_address(self, scope: Message) -> str:
        """The client's address: the peer's, or behind trusted proxies the last one in X-Forwarded-For that is not a proxy's."""
        address = _peer(scope)
        if self._is_proxy(address):
            # A proxy extends the field or adds another line; together they are one list, the nearest hop last.
            for hop in reversed(",".join(_fields(scope, b"x-forwarded-for")).split(",")):
                if not hop.strip():
                    break
                address = _plain(hop.strip())
                if not self._is_proxy(address):
                    break
        return address

    # docs/decisions.md#a-request-with-a-trace-of-a-proxy-is-not-from-loopback
    def certain_client_address(self, scope: Message) -> str:
        """The client's address; empty when a request passed a proxy that is not trusted or did not state its client.

        A forwarded loopback address is none of this machine.
        """
        if not _passed_a_proxy(scope):
            return _peer(scope)
        address = self.client_address(scope)
        return "" if address == _peer(scope) or self._is_proxy(address) or _is_loopback(address) else address

    def passed_another_proxy(self, scope: Message) -> bool:
        """Whether a request passed a proxy that is not trusted: its host may be what the proxy calls this server."""
        return _passed_a_proxy(scope) and not self._is_proxy(_peer(scope))

    def countable_address(self, scope: Message) -> str:
        """The client's address, for limits; empty for loopback and for a trusted proxy, which stand for many clients.

        No header field that a client sends takes its address away.
        """
        address = self.client_address(scope)
        return "" if self._is_proxy(address) or _is_loopback(address) else address

    def is_local_or_proxy(self, address: str) -> bool:
        """Whether an address is of this machine or of a trusted proxy."""
        plain = _plain(address)
        return _is_loopback(plain) or self._is_proxy(plain)

    def base_url(self, scope: Message) -> str:
        """The URL at which the client reached this server, such as `https://images.example:8443`, without a default port.

        A trusted proxy states it in X-Forwarded-Proto, X-Forwarded-Host and X-Forwarded-Port. A port in X-Forwarded-Host is the
        one that the client named, so it wins over X-Forwarded-Port. With a malformed host, the address of the server's socket.
        Below a mount, the URL ends with its path.
        """
        own_scheme = _scheme(str(scope.get("scheme", "")))
        scheme, host, port = own_scheme, _first(_fields(scope, b"host")), ""
        if self._is_proxy(_peer(scope)):
            scheme = _scheme(_first(_fields(scope, b"x-forwarded-proto")) or scheme)
            host = _first(_fields(scope, b"x-forwarded-host")) or host
            # docs/decisions.md#the-forwarded-host-decides-the-port
            port = _first(_fields(scope, b"x-forwarded-port"))
        return (_url(scheme, host, port) or _own_url(own_scheme, scope)) + str(scope.get("root_path", ""))

    def _is_proxy(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)


def _passed_a_proxy(scope: Message) -> bool:
    """Whether a request has a trace of a proxy: HTTP/1.0, which nginx speaks by default and no monitor does, or a field."""
    if scope.get("http_version") == "1.0":
        return True
    return any(field in _ADDED_BY_PROXIES or field.startswith(b"x-forwarded") for field, _ in scope["headers"])


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _fields(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for field, value in scope["headers"] if field == name]


def _first(values: list[str]) -> str:
    """The value that the outermost proxy set."""
    return values[0].partition(",")[0].strip() if values else ""


def _peer(scope: Message) -> str:
    return _plain(scope["client"][0]) if scope.get("client") else ""


def _scheme(text: str) -> str:
    return "https" if text.lower() == "https" else "http"


def _url(scheme: str, authority: str, fallback_port: str) -> str:
    """The URL of a `host` or `host:port`; empty when that is malformed. A malformed fallback port is ignored."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or (match["host"].startswith("[") and not _is_ipv6(match["host"][1:-1])):
        return ""
    if match["port"] and not _is_port(match["port"]):
        return ""
    port = int(match["port"] or (fallback_port if _is_port(fallback_port) else _DEFAULT_PORTS[scheme]))
    return f"{scheme}://{match['host']}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def _own_url(scheme: str, scope: Message) -> str:
    host, port = scope.get("server") or ("localhost", _DEFAULT_PORTS[scheme])
    return _url(scheme, f"[{host}]" if ":" in str(host) else str(host), str(port)) or f"{scheme}://localhost"


def _is_port(text: str) -> bool:
    return bool(_PORT.fullmatch(text)) and 0 < int(text) <= 65535


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _plain(address: str) -> str:
    """The usual notation of an address: an IPv4 address mapped into IPv6 becomes IPv4."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)
