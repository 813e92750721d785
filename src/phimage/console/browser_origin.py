"""The origin at which a browser reached the console, the cookie of a session there, and which requests are from its pages."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from phimage.console.address import ROOT

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


class BrowserOrigin(Struct, frozen=True):
    """An origin at which a session may exist: over TLS, or on loopback, where a browser trusts plain HTTP as well.

    `root` is the path of the console there.
    """

    url: str
    secure: bool
    root: str = ROOT

    @property
    def cookie(self) -> str:
        """The name of the cookie. Cookies of one host are shared by its ports, so on loopback the port is in the name."""
        if self.secure:
            return "__Host-phimage"
        return f"phimage-{urlsplit(self.url).port or 80}"

    def secret(self, cookies: Mapping[str, str]) -> str:
        """The secret of a session among the cookies of a request; empty without one."""
        value = cookies.get(self.cookie, "")
        return value if _SECRET.fullmatch(value) else ""

    def set_cookie(self, secret: str) -> str:
        """The field Set-Cookie of a new session. The browser forgets it when it is closed."""
        return f"{self.cookie}={secret}; {self._attributes()}"

    def clear_cookie(self) -> str:
        """The field Set-Cookie that removes it."""
        return f"{self.cookie}=; Max-Age=0; {self._attributes()}"

    def _attributes(self) -> str:
        # The prefix __Host- requires Path=/ and Secure; on loopback the cookie can be limited to its path.
        where = "Path=/; Secure" if self.secure else f"Path={self.root}"
        return f"{where}; HttpOnly; SameSite=Strict"

    def is_own_request(self, fields: Mapping[str, str]) -> bool:
        """Whether a page of this origin sent a request, by Sec-Fetch-Site, or by Origin where a browser does not send that.

        A form of a page without referrer has Origin: null, so Sec-Fetch-Site decides where it is present.
        """
        site = fields.get("sec-fetch-site")
        return site == "same-origin" if site is not None else fields.get("origin") == self.url


# docs/decisions.md#the-console-needs-tls-or-loopback
def browser_origin(base_url: str) -> BrowserOrigin | None:
    """The origin of a base URL, which may have a path.

    None for plain HTTP to another machine, where cookies can be read and WebCrypto is missing.
    """
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    if not secure and not _is_loopback(parts.hostname or ""):
        return None
    return BrowserOrigin(f"{parts.scheme}://{parts.netloc}", secure, parts.path + ROOT)


def form_token(secret: str) -> str:
    """The token of a session, which its pages send with every change. It does not reveal the secret."""
    return hmac.new(secret.encode(), b"phimage console form", "sha256").hexdigest()


def is_same_token(token: str, given: str) -> bool:
    """Whether a given token is that of a session, compared in constant time."""
    return hmac.compare_digest(token.encode(), given.encode("utf-8", "surrogatepass"))


def inner_path(text: str, root: str = ROOT) -> str:
    """A path of the console that a sign-in may lead to; the console itself for anything else, such as another site."""
    is_inner = re.fullmatch(rf"{re.escape(root)}[!-~]*", text) and "\\" not in text and not text.startswith(f"{root}login")
    return text if is_inner else root


def inner_address(url: str, root: str = ROOT) -> str:
    """The address of a page of the console, from its whole URL; the console itself for anything else."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return root
    return inner_path(f"{parts.path}?{parts.query}" if parts.query else parts.path, root)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
