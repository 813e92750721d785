"""Strict URL parsing: the parsed URL is the requested one, so no second parser can read it differently."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import quote, unquote, urljoin

from msgspec import Struct

from phimage.sources.errors import UrlRefused

PORTS: Final = {"http": 80, "https": 443}
MAX_LENGTH: Final = 8192
MAX_SHOWN: Final = 300

_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)  # RFC 3986, appendix B
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{0,5}))?", re.IGNORECASE | re.ASCII)
_NAME = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_HOSTILE = re.compile(r"[\x00-\x20\x7f-\x9f\\\u2028\u2029]")
_SAFE = "%/:@!$&'()*+,;=~-._"


class Url(Struct, frozen=True):
    """An http or https URL. `host` is a lower-case name or an address without brackets; `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as in the Host header field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole URL. It may hold secrets; messages use `shown`."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def shown(self) -> str:
        """The URL without the values of its query, for messages and records."""
        return shown(self.text)

    @property
    def bare(self) -> str:
        """The URL without its query."""
        return self.text.partition("?")[0]

    @property
    def file(self) -> str:
        """The unquoted path of the file on its server, for lookup in a checksum file."""
        return unquote(self.path.partition("?")[0]).lstrip("/")

    @property
    def name(self) -> str:
        """The file name without folders, possibly empty."""
        return self.file.rpartition("/")[2]

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an address, None when it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def join(self, location: str) -> Url:
        """The target of a redirect. Raises UrlRefused."""
        _check_characters(location)
        return read_url(urljoin(self.text, location))


def read_url(text: str) -> Url:
    """Parse a URL. Raises UrlRefused for schemes other than http and https, credentials, and hosts in unusual notations."""
    _check_characters(text)
    parts = _PARTS.fullmatch(text)
    scheme, authority, path, query = parts.groups() if parts else (None, None, "", None)
    scheme = (scheme or "").lower()
    if scheme not in PORTS:
        message = f"the scheme {scheme[:16]!r} is not supported" if scheme else "it has no scheme"
        raise UrlRefused(shown(text), message, "give an http:// or https:// URL", reason="scheme")
    if "@" in (authority or ""):
        remedy = "give the URL without user and password; if the server requires them, download the file and publish it"
        raise UrlRefused(shown(text), "it contains credentials", remedy, reason="credentials")
    host = _AUTHORITY.fullmatch(authority or "")
    if not host:
        raise _bad_host(text)
    port = int(host[2]) if host[2] else PORTS[scheme]
    if not 0 < port < 65536:
        raise UrlRefused(shown(text), f"there is no port {port}", "check the URL", reason="port")
    target = quote(path, safe=_SAFE) or "/"
    if query is not None:
        target += "?" + quote(query, safe=_SAFE + "?")
    return Url(scheme, _host(host[1].lower(), text), port, target)


def shown(text: str) -> str:
    """Any text given as a URL, for messages: without credentials, query values and unprintable characters."""
    parts = _PARTS.fullmatch(text)
    if "@" in text and not (parts and _AUTHORITY.fullmatch(parts[2] or "")):
        scheme = text.partition(":")[0] + "://" if parts and parts[1] else ""
        text = f"{scheme}***@" + text.rpartition("@")[2]
    text, mark, query = text.partition("#")[0].partition("?")
    if mark:
        text += "?" + "&".join(f"{part.partition('=')[0]}=***" if "=" in part else "***" for part in query.split("&"))
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise UrlRefused(shown(text), f"it is longer than {MAX_LENGTH} characters", "check the URL", reason="length")
    if _HOSTILE.search(text):
        message = "it contains a space, a control character or a backslash"
        raise UrlRefused(shown(text), message, "check the URL; a space is written %20", reason="letters")


def _host(host: str, text: str) -> str:
    """The validated host: a name, or an address in the notation of RFC 3986, 3.2.2."""
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise _bad_host(text) from None
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            message = f"{host[:64]} is an address in an unusual notation"
            raise UrlRefused(shown(text), message, "write it as four decimal numbers", reason="notation") from None
    if not _NAME.fullmatch(host) or len(host) > 253:
        raise _bad_host(text)
    return host.removesuffix(".")


def _bad_host(text: str) -> UrlRefused:
    remedy = "check the URL; a name with non-ASCII letters is written xn--..."
    return UrlRefused(shown(text), "it has no valid host", remedy, reason="host")
