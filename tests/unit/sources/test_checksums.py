"""Checksum files in the layouts of publishers."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.sources.checksums import MAX_CHECKSUM_BYTES, find_digest, read_lines
from phimage.sources.errors import DigestRefused


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha512(text: str) -> str:
    return hashlib.sha512(text.encode()).hexdigest()


ONE, TWO = sha256("one"), sha256("two")
NAME = "disk.qcow2"

FEDORA = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# {NAME}: 568590336 bytes
SHA256 ({NAME}) = {ONE}
# other.qcow2: 1 bytes
SHA256 (other.qcow2) = {TWO}
-----BEGIN PGP SIGNATURE-----

iQIzBAEBCAAdFiEEaC8deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadb
deadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeefdeadbeef
=abcd
-----END PGP SIGNATURE-----
"""


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}  {NAME}\n",
        f"{ONE} *{NAME}\n",
        f"{ONE} {NAME}",
        f"{ONE}\t{NAME}",
        f"{ONE.upper()}  {NAME}\r\n",
        f"\ufeff{ONE}  {NAME}\r\n{TWO}  other.img\r\n",
        f"{ONE}  ./{NAME}\n",
        f"{ONE}  /build/2026/images/{NAME}\n",
        f"{ONE} *C:\\images\\{NAME}\n",
        f"SHA256 ({NAME}) = {ONE}\n",
        f"SHA256({NAME})= {ONE}\n",
        f"SHA2-256({NAME})= {ONE}\n",
        f"SHA2-256 (images/{NAME}) = {ONE.upper()}\n",
        f"{ONE}\n",
        f"\n# made today\n{ONE}\n\n",
        f"{ONE}  -\n",
        FEDORA,
        f"MD5 ({NAME}) = {'0' * 32}\nSHA1 ({NAME}) = {'0' * 40}\nSHA256 ({NAME}) = {ONE}\nSHA512 ({NAME}) = {sha512('one')}\n",
        f"{'0' * 32}  {NAME}\n{'0' * 40}  {NAME}\n{ONE}  {NAME}\n{sha512('one')}  {NAME}\n",
        f"{ONE}  {NAME}\n{ONE}  copy/{NAME}\n",
        f"{TWO}  not-{NAME}\n{TWO}  {NAME}.asc\n{ONE}  {NAME}\n",
        f"{TWO}  old/{NAME}\n{ONE}  {NAME}\n",
        f"{'0' * 32}\n{'1' * 40}\n{ONE}\n",
    ],
)
def test_the_digest_of_a_name_is_found_in_every_usual_layout(text: str) -> None:
    found = find_digest(text, NAME)
    assert str(found.digest) == f"sha256:{ONE}"
    assert "line" in found.origin


def test_a_sha512_is_taken_where_there_is_no_sha256() -> None:
    assert str(find_digest(f"{sha512('one')}  {NAME}\n{'0' * 32}  {NAME}", NAME).digest) == f"sha512:{sha512('one')}"


def test_folders_tell_two_files_of_one_name_apart() -> None:
    text = f"{ONE}  amd64/disk.img\n{TWO}  arm64/disk.img\n"

    assert str(find_digest(text, "pub/arm64/disk.img").digest) == f"sha256:{TWO}"
    assert str(find_digest(text, "amd64/disk.img").digest) == f"sha256:{ONE}"
    with pytest.raises(DigestRefused, match="lines 1 and 2 have different digests") as refused:
        find_digest(text, "disk.img")
    assert refused.value.reason == "ambiguous"


def test_escaped_names_are_read_as_coreutils_write_them() -> None:
    assert str(find_digest(f"\\{ONE}  a\\\\b\\nc\n", "b\nc").digest) == f"sha256:{ONE}"


def test_standard_input_has_the_digest_of_a_file_about_one() -> None:
    assert str(find_digest(f"{ONE}  {NAME}\n", "-").digest) == f"sha256:{ONE}"
    with pytest.raises(DigestRefused):
        find_digest(f"{ONE}  {NAME}\n{TWO}  other\n", "-")


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("", "form", "no line of it has a digest"),
        ("hello\nworld\n", "form", "no line of it has a digest"),
        ("<!DOCTYPE html><html><body>404</body></html>", "form", "it is a web page"),
        (f"{ONE}  other.img\n", "absent", "no line for disk.qcow2, only for other.img"),
        (f"{ONE}  {NAME}.sig\n{ONE}  x{NAME}\n", "absent", "no line for disk.qcow2"),
        (f"{ONE}  {NAME.upper()}\n", "absent", "no line for disk.qcow2"),
        ("".join(f"{ONE}  {number}.img\n" for number in range(8)), "absent", "and 3 more"),
        (f"{ONE}  {NAME}\n{TWO}  {NAME}\n", "ambiguous", "lines 1 and 2 have different digests"),
        (f"{ONE}\n{TWO}\n", "ambiguous", "different digests"),
        (f"{ONE}\n{TWO}  other.img\n", "absent", "no line for"),
        (f"{'0' * 32}  {NAME}\n", "broken", "MD5 is broken"),
        (f"SHA1 ({NAME}) = {'0' * 40}\n", "broken", "SHA1 is broken"),
        (f"{'0' * 96}  {NAME}\n", "algorithm", "it is not a digest of a supported algorithm"),
        (f"BLAKE2b ({NAME}) = {'0' * 128}\n", "algorithm", "it is not a digest of a supported algorithm"),
        (f"SHA256 ({NAME}) = {ONE}0\n", "form", "64 hexadecimal digits"),
        (f"{hashlib.sha256().hexdigest()}  {NAME}\n", "empty", "digest of an empty file"),
        ("0" * (MAX_CHECKSUM_BYTES + 1), "form", "too large"),
        (f"-----BEGIN PGP SIGNATURE-----\n{ONE}\n-----END PGP SIGNATURE-----\n", "form", "no line"),
    ],
)
def test_what_does_not_answer_is_refused_with_the_reason(text: str, reason: str, message: str) -> None:
    with pytest.raises(DigestRefused, match=message) as refused:
        find_digest(text, NAME, "https://mirror.example/SHA256SUMS")
    assert refused.value.reason == reason
    assert "https://mirror.example/SHA256SUMS" in str(refused.value)


def test_the_line_is_told() -> None:
    text = f"# comment\n{TWO}  other.img\n{ONE}  {NAME}\n"
    assert find_digest(text, NAME, "SHA256SUMS").origin == "SHA256SUMS, line 3"
    with pytest.raises(DigestRefused, match="SHA256SUMS, line 2: MD5 is broken"):
        find_digest(f"\n{'0' * 32}  {NAME}", NAME, "SHA256SUMS")


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=20).filter(
    lambda name: not set(name) & set("/\\()*#-=") and name.strip() == name
)
LAYOUTS = st.sampled_from(
    ["{hex}  {name}", "{hex} *{name}", "{hex} {name}", "SHA256 ({name}) = {hex}", "{hex}  ./{name}", "SHA2-256({name})= {hex}"]
)


@given(st.dictionaries(NAMES, LAYOUTS, min_size=1), st.sampled_from(["\n", "\r\n", "\n\n", "\n# comment\n"]), st.data())
def test_each_name_of_any_file_has_its_own_digest(files: dict[str, str], ending: str, data: st.DataObject) -> None:
    upper = data.draw(st.booleans())
    lines = [layout.format(hex=sha256(name).upper() if upper else sha256(name), name=name) for name, layout in files.items()]
    text = ending.join(data.draw(st.permutations(lines))) + ending

    for name in files:
        assert str(find_digest(text, name).digest) == f"sha256:{sha256(name)}"


@given(st.text(st.sampled_from(" \t\r\n*()=-\\/#0aZ.é"), max_size=300) | st.text())
def test_no_text_makes_the_reader_fail(text: str) -> None:
    try:
        lines = read_lines(text)
    except DigestRefused:
        return
    assert all(line.digits and line.number > 0 for line in lines)
