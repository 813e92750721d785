"""Where a request comes from and what it took this server for: the peer's word, or that of trusted proxies before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

Message = MutableMapping[str, Any]

_HOST = re.compile(r"[A-Za-z0-9._\-\[\]:]{1,255}", re.ASCII)


class Origin:
    """Reads addresses from requests. Only proxies in the given networks are believed."""

    def __init__(self, trusted_proxies: Iterable[str] = ()) -> None:
        self._proxies = tuple(ip_network(network) for network in trusted_proxies)

    def address(self, scope: Message) -> str:
        """The caller's address: the peer's, or behind trusted proxies the last one in X-Forwarded-For that is not theirs."""
        address = _peer(scope)
        if self._is_proxy(address):
            # A proxy adds itself to the line or adds a line; together they are one list, the nearest hop last.
            for hop in reversed(",".join(_fields(scope, b"x-forwarded-for")).split(",")):
                if not hop.strip():
                    break
                address = _plain(hop.strip())
                if not self._is_proxy(address):
                    break
        return address

    def certain_address(self, scope: Message) -> str:
        """The same, or nothing when a proxy that is not trusted stands between: everybody seems to come from its address."""
        if _fields(scope, b"x-forwarded-for") and not self._is_proxy(_peer(scope)):
            return ""
        return self.address(scope)

    def base_url(self, scope: Message) -> str:
        """The address at which the caller found this server, such as `https://images.example:8443`. It goes back to the caller
        alone."""
        scheme, host = str(scope.get("scheme", "http")), _first(_fields(scope, b"host"))
        if self._is_proxy(_peer(scope)):
            scheme = _first(_fields(scope, b"x-forwarded-proto")) or scheme
            host = _first(_fields(scope, b"x-forwarded-host")) or host
        if not _HOST.fullmatch(host):
            host = _server(scope)
        return f"{'https' if scheme == 'https' else 'http'}://{host}"

    def _is_proxy(self, address: str) -> bool:
        if not self._proxies:
            return False
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)


def _fields(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for field, value in scope["headers"] if field == name]


def _first(values: list[str]) -> str:
    """What the proxy that met the caller said."""
    return values[0].partition(",")[0].strip() if values else ""


def _peer(scope: Message) -> str:
    return _plain(scope["client"][0]) if scope.get("client") else ""


def _server(scope: Message) -> str:
    host, port = scope.get("server") or ("localhost", 80)
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


@lru_cache(maxsize=4096)
def _plain(address: str) -> str:
    """An address as people write it: an IPv4 address that came mapped into IPv6 is IPv4."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)
