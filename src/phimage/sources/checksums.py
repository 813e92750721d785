"""Checksum files, in the layouts that publishers use.

    <hex>  name            sha256sum; also with `*` before the name, one space, a tab, or a path before the name
    SHA256 (name) = <hex>  shasum --tag, BSD; also OpenSSL's `SHA2-256(name)= <hex>`
    <hex>                  alone in its file

Comments, empty lines, upper-case digits, CRLF, a byte order mark and the frame of a clear-signed file are accepted. Signatures
are not verified: verify the signature first and give the digest.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from phimage.sources.digest import BROKEN_ALGORITHMS, Algorithm, Digest, ExpectedDigest, make_digest
from phimage.sources.errors import DigestRefused

MAX_CHECKSUM_BYTES: Final = 4 * 1024 * 1024
"""Max characters of a checksum file; the largest of public mirrors have some hundred thousand."""

MAX_NAMES: Final = 5

_PLAIN = re.compile(r"(\\?)([0-9A-Fa-f]{32,128})[ \t]+\*?(\S.*)", re.ASCII)
_TAGGED = re.compile(r"(\\?)([A-Za-z][A-Za-z0-9/_-]{2,11}) ?\((.+)\) ?= ?([0-9A-Fa-f]{32,128})", re.ASCII)
_BARE = re.compile(r"[0-9A-Fa-f]{32,128}", re.ASCII)
_BY_DIGITS = {algorithm.digits: str(algorithm) for algorithm in Algorithm} | {
    digits: name for name, digits in BROKEN_ALGORITHMS.items()
}


class ChecksumLine(Struct, frozen=True):
    """A parsed line. `name` is "" for bare digits, and for `-`, which sha256sum writes for standard input."""

    number: int
    algorithm: str
    digits: str
    name: str


def find_digest(text: str, name: str, where: str = "the checksum file") -> ExpectedDigest:
    """The digest of a file by its checksum file. Raises DigestRefused when there is no usable one, or when lines disagree.

    Names are compared without folders, unless only the folders differ; for that `name` may be a path. A file without a name
    (`-`) matches a checksum file with a single name. SHA-256 is preferred to SHA-512 because phimage records it; MD5 and SHA-1
    are refused.
    """
    lines = read_lines(text, where)
    named = _about(name, lines)
    usable: dict[str, list[tuple[ChecksumLine, Digest]]] = {}
    refusal: DigestRefused | None = None
    for line in named:
        try:
            digest = make_digest(line.algorithm, line.digits)
        except DigestRefused as refused:
            refusal = DigestRefused(f"{where}, line {line.number}", refused.what, refused.remedy, reason=refused.reason)
        else:
            usable.setdefault(digest.algorithm, []).append((line, digest))
    for algorithm in Algorithm:
        candidates = usable.get(algorithm, [])
        if len({digest.hex for _, digest in candidates}) > 1:
            message = f"lines {candidates[0][0].number} and {candidates[-1][0].number} have different digests for {name}"
            raise DigestRefused(where, message, "give the digest itself", reason="ambiguous")
        if candidates:
            return ExpectedDigest(candidates[0][1], f"{where}, line {candidates[0][0].number}")
    if refusal is not None:
        raise refusal
    others = sorted({line.name for line in lines if line.name})
    message = f"it has no line for {name}" + (f", only for {', '.join(others[:MAX_NAMES])}" if others else "")
    message += f" and {len(others) - MAX_NAMES} more" if len(others) > MAX_NAMES else ""
    raise DigestRefused(where, message, "give the checksum file of this image, or the digest itself", reason="absent")


def read_lines(text: str, where: str = "the checksum file") -> list[ChecksumLine]:
    """All lines with a digest. Raises DigestRefused for a web page, or a text without any."""
    if len(text) > MAX_CHECKSUM_BYTES:
        raise DigestRefused(where, "it is too large for a checksum file", "check which file this is", reason="form")
    lines: list[ChecksumLine] = []
    in_signature = False
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")), 1):
        if line.startswith("-----"):
            in_signature = "SIGNATURE" in line and "BEGIN" in line
        elif not in_signature and (parsed := _line(number, line.removeprefix("- ").strip())):
            lines.append(parsed)
    if not lines:
        message = "it is a web page" if "<html" in text[:4096].lower() else "no line of it has a digest"
        raise DigestRefused(where, message, "check that this is the checksum file", reason="form")
    return lines


def _line(number: int, text: str) -> ChecksumLine | None:
    tagged = _TAGGED.fullmatch(text)
    if tagged:
        return ChecksumLine(number, tagged[2], tagged[4], _unescaped(tagged[3]) if tagged[1] else tagged[3])
    plain = _PLAIN.fullmatch(text)
    if plain:
        name = _unescaped(plain[3]) if plain[1] else plain[3]
        return ChecksumLine(
            number, _BY_DIGITS.get(len(plain[2]), f"{4 * len(plain[2])} bits"), plain[2], "" if name == "-" else name
        )
    if _BARE.fullmatch(text):
        return ChecksumLine(number, _BY_DIGITS.get(len(text), f"{4 * len(text)} bits"), text, "")
    return None


def _about(name: str, lines: list[ChecksumLine]) -> list[ChecksumLine]:
    """The lines about a file: those with its name and the most matching folders, or all when no line has a name."""
    names = {line.name for line in lines if line.name}
    if not names or (name in ("", "-") and len(names) == 1):
        return lines
    same = [line for line in lines if line.name and _last(line.name) == _last(name)]
    agreeing = [line for line in same if f"/{name}".endswith(f"/{line.name.removeprefix('./')}")]
    deepest = max(map(_folders, agreeing), default=0)
    return [line for line in agreeing if _folders(line) == deepest] or same


def _folders(line: ChecksumLine) -> int:
    return line.name.removeprefix("./").count("/")


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]


def _unescaped(name: str) -> str:
    """A name without the escapes that coreutils write in lines that begin with a backslash."""
    return re.sub(r"\\(.)", lambda escape: {"n": "\n", "r": "\r"}.get(escape[1], escape[1]), name)
