"""Checksum files, in the layouts that publishers use.

    <hex>  name            sha256sum; also with `*` before the name, one space, a tab, or a path before the name
    SHA256 (name) = <hex>  shasum --tag, BSD; also OpenSSL's `SHA2-256(name)= <hex>`
    <hex>                  alone in its file

Comments, empty lines, capital digits, CRLF, a byte order mark and the frame of a clear-signed file are no obstacle. A
signature is not verified: who wants that does it before and gives the digest.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from phimage.sources.digest import BROKEN, Algorithm, Digest, Expected, make_digest
from phimage.sources.errors import DigestRefused

LARGEST: Final = 4 * 1024 * 1024
"""Most letters of a checksum file; the largest of public mirrors have some hundred thousand."""

MAX_NAMES: Final = 5

_PLAIN = re.compile(r"(\\?)([0-9A-Fa-f]{32,128})[ \t]+\*?(\S.*)", re.ASCII)
_TAGGED = re.compile(r"(\\?)([A-Za-z][A-Za-z0-9/_-]{2,11}) ?\((.+)\) ?= ?([0-9A-Fa-f]{32,128})", re.ASCII)
_BARE = re.compile(r"[0-9A-Fa-f]{32,128}", re.ASCII)
_BY_DIGITS = {algorithm.digits: str(algorithm) for algorithm in Algorithm} | {digits: name for name, digits in BROKEN.items()}


class Line(Struct, frozen=True):
    """What a line says. `name` is "" for bare digits, and for what sha256sum read from its standard input."""

    number: int
    algorithm: str
    digits: str
    name: str


def find_digest(text: str, name: str, where: str = "the checksum file") -> Expected:
    """What a checksum file says of a file. Raises DigestRefused when it says nothing usable, or two different things.

    Names are compared without their folders, unless only the folders tell two apart; for that `name` may be a path. A
    file without a name (`-`) is meant by a checksum file about one. SHA-256 is preferred to
    SHA-512, as it is what phimage records; MD5 and SHA-1 are refused.
    """
    lines = read_lines(text, where)
    named = _about(name, lines)
    usable: dict[str, list[tuple[Line, Digest]]] = {}
    refusal: DigestRefused | None = None
    for line in named:
        try:
            digest = make_digest(line.algorithm, line.digits)
        except DigestRefused as refused:
            refusal = DigestRefused(f"{where}, line {line.number}", refused.what, refused.remedy, reason=refused.reason)
        else:
            usable.setdefault(digest.algorithm, []).append((line, digest))
    for algorithm in Algorithm:
        found = usable.get(algorithm, [])
        if len({digest.hex for _, digest in found}) > 1:
            told = f"lines {found[0][0].number} and {found[-1][0].number} have different digests for {name}"
            raise DigestRefused(where, told, "give the digest itself", reason="ambiguous")
        if found:
            return Expected(found[0][1], f"{where}, line {found[0][0].number}")
    if refusal is not None:
        raise refusal
    others = sorted({line.name for line in lines if line.name})
    told = f"it has no line for {name}" + (f", but for {', '.join(others[:MAX_NAMES])}" if others else "")
    told += f" and {len(others) - MAX_NAMES} more" if len(others) > MAX_NAMES else ""
    raise DigestRefused(where, told, "give the checksum file of this image, or the digest itself", reason="absent")


def read_lines(text: str, where: str = "the checksum file") -> list[Line]:
    """All lines that say something. Raises DigestRefused for a page, or a text where nothing does."""
    if len(text) > LARGEST:
        raise DigestRefused(where, "it is too large for a checksum file", "check which file this is", reason="form")
    found: list[Line] = []
    in_signature = False
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")), 1):
        if line.startswith("-----"):
            in_signature = "SIGNATURE" in line and "BEGIN" in line
        elif not in_signature and (read := _line(number, line.removeprefix("- ").strip())):
            found.append(read)
    if not found:
        told = "it is a page" if "<html" in text[:4096].lower() else "no line of it has a digest"
        raise DigestRefused(where, told, "check which file this is", reason="form")
    return found


def _line(number: int, text: str) -> Line | None:
    tagged = _TAGGED.fullmatch(text)
    if tagged:
        return Line(number, tagged[2], tagged[4], _unescaped(tagged[3]) if tagged[1] else tagged[3])
    plain = _PLAIN.fullmatch(text)
    if plain:
        name = _unescaped(plain[3]) if plain[1] else plain[3]
        return Line(number, _BY_DIGITS.get(len(plain[2]), f"{4 * len(plain[2])} bits"), plain[2], "" if name == "-" else name)
    if _BARE.fullmatch(text):
        return Line(number, _BY_DIGITS.get(len(text), f"{4 * len(text)} bits"), text, "")
    return None


def _about(name: str, lines: list[Line]) -> list[Line]:
    """The lines about a file: those with its name, and of these with most of its folders; bare ones when none has a name."""
    names = {line.name for line in lines if line.name}
    if not names or (name in ("", "-") and len(names) == 1):
        return lines
    same = [line for line in lines if line.name and _last(line.name) == _last(name)]
    agreeing = [line for line in same if f"/{name}".endswith(f"/{line.name.removeprefix('./')}")]
    deepest = max(map(_folders, agreeing), default=0)
    return [line for line in agreeing if _folders(line) == deepest] or same


def _folders(line: Line) -> int:
    return line.name.removeprefix("./").count("/")


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _unescaped(name: str) -> str:
    """A name as coreutils escape it in lines that begin with a backslash."""
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found[1], found[1]), name)
