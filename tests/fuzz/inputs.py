"""Where inputs come from: requests built of known names and odd values, seeds with changed bytes, and plain noise.

Each is made of some bytes that decide it, so that hypothesis draws one value for it and atheris needs nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import quote_plus

from phimage.actions import registry
from phimage.gateway.decode import readers_of
from phimage.model.account import Right
from tests.api.recording import parse
from tests.api.signer import DEMO, FORM, JSON, Request
from tests.fuzz.target import OPERATOR, UNSIGNED, seeds

Option = TypeVar("Option")

_REGISTRY = registry()
OPERATORS = {action.name for action in _REGISTRY if action.right is Right.OPERATE}
ACTIONS = {action.name: [reader.name for reader in readers_of(action.request, _REGISTRY.settings)] for action in _REGISTRY}
_PLACE = [("Region", "cn-bj2"), ("Zone", "cn-bj2-02")]
_ACTIONS = [*sorted(ACTIONS), *["DescribePHostImage"] * len(ACTIONS)]
SEEDS = list(seeds().values())
NAMES = sorted({name for names in ACTIONS.values() for name in names} | {"ProjectId", "SecurityToken", "base-url", "镜像", ""})

KNOWN = [
    *("cn-bj2", "cn-bj2-02", "cn-bj2-03", "hk", "hk-02", "org-default", "org-xyz", "Base", "custom", "DB-2", "Base-SSD-V5"),
    *("1G", "10G", "25G", "pimg-cs-p4dzup", "pimg-os-web7k2ma", "v2", "demo", "operator", "main", "viewer", "fuzz", "yes"),
    *("192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", DEMO.public, OPERATOR.public, "phimage: 1\n", "true", "false"),
]
ODD = [
    *("", " ", "0", "1", "-1", "+1", "20", "1000", "1001", "10.5", "1e1", "1e400", "NaN", "null", "٣", "²"),
    *("2147483647", "2147483648", "9223372036854775807", "9223372036854775808", "18446744073709551616", "9" * 30),
    *("\x00", "\x7f", "\n", "a\nb", "a\x00b", "%", "%00", "%zz", "+", "&", "=", ";", "'", '"', "\\", "/", "../..", "{}", "[]"),
    *("镜像", "\U0001f600", "\ufeff", "\u2028", "\u202e", "ſ", "İ", "ß", "x" * 65, "x" * 300, "*", "%%%", "_"),
    *("phimage: 1\na: &a [*a]\n", "phimage: 1\n? x\n", "- " * 200, "{" * 200, "!!python/object:os.system x", "phimage: 1\n\t"),
]
LITERALS = [
    *("null", "true", "false", "0", "-0", "1", "-1", "1.0", "10.50", "1e1", "1E-7", "1e21", "1e400", "-1e-400", "0e99", "0.1"),
    *(
        "123456789012345678901234567890",
        "9" * 400,
        "[]",
        "{}",
        '""',
        '"\\/"',
        '"\\u0000"',
        '"\\ud83d\\ude00"',
        "[null]",
        '{"":""}',
    ),
]
BROKEN = [
    *("NaN", "Infinity", "01", ".5", "1.", "+1", "1e401", "0e9999", '"\\ud800"', '"\\udc00\\ud800"', '"\\x"', '{"a":1,"a":2}'),
    *("[1,]", "'x'", "", "{", '"\ud800"'),
]
PATHS = [
    *("/", "", "//", "/ok", "/ok/", "/cli", "/healthz", "/openapi.json", "/rev/1/", "/rev/0/", "/rev/2/limit/5", "/limit/0/"),
    *("/rev/", "/rev/x/", "/rev/-1", "/rev/999999999999999", "/rev/1/rev/2", "/limit/1000000", "/limit/", "/at/", "/at/now"),
    *(
        "/at/2026-11-01T00:00:00Z/",
        "/at/1970-01-01T00:00:00Z",
        "/at/0001-01-01T00:00:00+23:59",
        "/at/9999-12-31T23:59:59-23:59",
    ),
    *(
        "/at/2999-01-01T00:00:00Z/",
        "/at/2026-W01-1T00Z",
        "/at/2001-01-01T00:00:00Z/limit/3/base",
        "/镜像/",
        "/\x00",
        "/\udcff",
        "/%2e%2e",
    ),
]
METHODS = ["POST", "GET", "PUT", "HEAD", "OPTIONS", "", "post", "镜像"]
CONTENT_TYPES = [
    FORM,
    JSON,
    "",
    "text/plain",
    f"{JSON}; charset=utf-16",
    "application/JSON;",
    "multipart/form-data",
    "\xff",
    ";",
]
HEADERS = [
    *(("Accept-Encoding", "gzip"), ("Accept-Encoding", "gzip;q=0"), ("X-Forwarded-For", "1.2.3.4, ::1,"), ("Cookie", "")),
    *(("Authorization", "Bearer x"), ("Content-Length", "-1"), ("Transfer-Encoding", "chunked"), ("Expect", "100-continue")),
    *(("Content-Encoding", "gzip"), ("Host", ""), ("X-UCLOUD-REQUEST-UUID", "x"), ("", ""), ("Accept-Encoding", "gzip;q=\xff")),
]
TOKENS = [
    *(
        b"&",
        b"=",
        b"%",
        b"+",
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\\",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
    ),
    *(
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\\ud800",
        b"1e400",
        b"null",
        b"Action",
        b"Action=",
        b"Signature",
        b"ImageId.",
        b"ImageId.0=x&",
    ),
    *(
        b'"Limit":',
        b"rev/",
        b"at/",
        b"limit/",
        b"?",
        b" ",
        b"0" * 40,
        b"9" * 50,
        b"[" * 50,
        b'{"a":' * 40,
        b"&a=" * 600,
        b"%ff",
        b"%00",
    ),
]

ENOUGH = 160
"""Bytes that decide a whole request."""


class Choices:
    """Decisions, read from bytes. After their end every decision is the first option."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """A number from 0."""
        size = 1 if below <= 256 else 2
        piece = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(piece, "big") % below

    def one(self, options: Sequence[Option]) -> Option:
        """One of some options."""
        return options[self.number(len(options))]

    def rarely(self, out_of: int) -> bool:
        """Yes, once out of so many times."""
        return self.number(out_of) == out_of - 1

    def some(self, limit: int) -> range:
        """As many turns as are decided now."""
        return range(self.number(limit + 1))

    def raw(self, limit: int) -> bytes:
        """Any bytes."""
        size = self.number(limit + 1)
        self._at += size
        return self._data[self._at - size : self._at]


def request(data: bytes) -> Request:
    """Any of the three, mostly those that get far."""
    choices = Choices(data)
    kind = choices.number(10)
    return built(choices) if kind < 6 else mutated(choices) if kind < 9 else noise(choices)


def built(choices: Choices) -> Request:
    """A request with the right signature, or nearly: known names, known and odd values, in any encoding."""
    action = choices.one(_ACTIONS) if not choices.rarely(30) else _text(choices)
    fitting = OPERATOR if action in OPERATORS else DEMO
    public = fitting.public if not choices.rarely(20) else choices.one(["nobody", DEMO.public, OPERATOR.public])
    fixed = [("Action", action), ("PublicKey", public), ("Signature", UNSIGNED.decode())]
    fixed += choices.one([_PLACE, _PLACE, _PLACE, _PLACE[:1], []])
    names = [name for name in _names(choices, action) if name not in dict(fixed) or choices.rarely(20)]
    method = "POST" if not choices.rarely(30) else choices.one(METHODS)
    path = "/" if choices.number(3) else choices.one(PATHS)
    headers = [choices.one(HEADERS) for _ in choices.some(2)]
    if choices.number(2):
        values = [(_json_text(name), _json_text(value)) for name, value in fixed]
        values += [(_json_text(name), _json_value(choices)) for name in names]
        body = "{" + ",".join(f"{name}:{value}" for name, value in values) + "}"
        headers.append(("Content-Type", JSON if not choices.rarely(20) else choices.one(CONTENT_TYPES)))
        return Request(method, path, "", tuple(headers), body.encode("utf-8", "surrogatepass"))
    form = "&".join(
        f"{_quoted(name)}={_quoted(value)}" for name, value in [*fixed, *((name, _text(choices)) for name in names)]
    )
    if choices.rarely(5):
        return Request(choices.one(["GET", "GET", "POST", method]), path, form, tuple(headers))
    headers.append(("Content-Type", FORM if not choices.rarely(20) else choices.one(CONTENT_TYPES)))
    return Request(
        method,
        path,
        choices.one(["", f"Action={_quoted(action)}", "foo=bar&Action=ApplyCatalog"]),
        tuple(headers),
        form.encode(),
    )


def mutated(choices: Choices) -> Request:
    """A seed with some of its bytes changed."""
    data = bytearray(choices.one(SEEDS))
    for _ in range(1 + choices.number(4)):
        start = choices.number(len(data) + 1)
        stop = min(len(data), start + (choices.number(20) if choices.number(2) else 0))
        new = choices.number(3)
        data[start:stop] = choices.one(TOKENS) if new == 0 else choices.raw(6) if new == 1 else bytes(data[start:stop]) * 2
    return parse(bytes(data))


def noise(choices: Choices) -> Request:
    """Any method, path, query, headers and body."""
    headers = [choices.one(HEADERS) if choices.number(2) else (_latin(choices), _latin(choices)) for _ in choices.some(3)]
    headers.append(("Content-Type", choices.one(CONTENT_TYPES)))
    method = choices.one(METHODS) if choices.number(4) else _latin(choices)
    path = choices.one(PATHS) if choices.number(2) else f"/{_latin(choices)}"
    query = "&".join(f"{_latin(choices)}={_latin(choices)}" for _ in choices.some(3))
    body = choices.raw(80) if choices.number(2) else _json_value(choices).encode("utf-8", "surrogatepass")
    return Request(method, path, query, tuple(headers), body)


def _names(choices: Choices, action: str) -> list[str]:
    """Names of parameters: mostly those of the Action, with and without an index."""
    own = ACTIONS.get(action) or NAMES
    found = []
    for _ in choices.some(8):
        kind = choices.number(8)
        name = choices.one(own) if kind < 6 else choices.one(NAMES) if kind == 6 else _text(choices)
        found.append(name + choices.one(["", "", "", "", ".0", ".1", ".n", ".007", ".999999999999", ".-1", ".x", ".0.Id"]))
    return found


def _text(choices: Choices) -> str:
    kind = choices.number(8)
    return choices.one(KNOWN) if kind < 5 else choices.one(ODD) if kind < 7 else choices.raw(12).decode("utf-8", "replace")


def _latin(choices: Choices) -> str:
    return choices.raw(12).decode("latin-1")


def _json_value(choices: Choices, depth: int = 3) -> str:
    """A value as it is written."""
    kind = choices.number(16)
    if kind < 9:
        return _json_text(_text(choices))
    if kind < 13:
        return choices.one(LITERALS)
    if kind == 13 and choices.rarely(3):
        return choices.one(BROKEN)
    if kind == 14 and depth:
        return f"[{','.join(_json_value(choices, depth - 1) for _ in choices.some(4))}]"
    if kind == 15 and depth:
        pairs = (f"{_json_text(_text(choices))}:{_json_value(choices, depth - 1)}" for _ in choices.some(3))
        return "{" + ",".join(pairs) + "}"
    return str(choices.number(65_536) - 100)


def _json_text(text: str) -> str:
    escaped = "".join(f"\\u{ord(letter):04x}" if letter < " " or letter in '"\\' else letter for letter in text)
    return f'"{escaped}"'


def _quoted(text: str) -> str:
    return quote_plus(text.encode("utf-8", "surrogatepass"))
