"""The header fields that keep a page to itself: what it may load, who may frame it, and that nobody keeps it.

docs/decisions.md#pages-of-the-console-load-from-their-own-server-alone
"""

from __future__ import annotations

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of every page."""

_STAY = (
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)

PAGE_FIELDS = (
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"cache-control", b"no-store"),
    *_STAY,
)
"""The fields of every page."""

STATIC_FIELDS = ((b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; sandbox"), *_STAY)
"""The fields of every static file, which is no page when it is opened by itself."""

COOKIE_SECONDS = 365 * 86400
"""How long a browser remembers the language and the theme."""
