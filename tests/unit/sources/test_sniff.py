"""First bytes that are not an image."""

from __future__ import annotations

import pytest

from phimage.sources.errors import ResponseRefused, TooLarge
from phimage.sources.sniff import FetchLimits, check_head, check_max_size, check_min_size


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "an HTML page"),
        (b"\n\n  <HTML lang=en>", "an HTML page"),
        (b"\xef\xbb\xbf<html>", "an HTML page"),
        (b"<!-- made by x --><html>", "an HTML page"),
        ("<html>Zugriff verweigert für alle".encode("latin-1") + b" " * 200, "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML message"),
        (b"<Error><Code>NoSuchKey</Code></Error>", "an XML message"),
        (b'{"error": "not found"}', "a JSON message"),
        (b"[]", "a JSON message"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer"),
        (b"0" * 64 + b"  disk.img\n", "a checksum file"),
        (b"SHA256 (disk.img) = " + b"0" * 64, "a checksum file"),
        (b"-----BEGIN PGP SIGNED MESSAGE-----\n", "a checksum file"),
        (b"404: not found", "a text"),
        ("对不起，找不到".encode(), "a text"),
    ],
)
def test_a_page_is_refused_for_what_it_is(head: bytes, text: str) -> None:
    with pytest.raises(ResponseRefused, match=f"it is {text}, not an image") as refused:
        check_head("https://h/disk.img", head)
    assert refused.value.reason == "page"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"QFI\xfb\0\0\0\3",
        b"\xeb\x63\x90" + bytes(500),
        bytes(4096),
        b"\x1f\x8b\x08" + bytes(range(256)),
        b"{" + bytes(512),
        b"<html>" + bytes(512),
        b"# Disk DescriptorFile\nversion=1\n",
        bytes(range(128, 256)) * 16,
    ],
)
def test_what_could_be_an_image_passes(head: bytes) -> None:
    check_head("https://h/disk.img", head)


def test_the_message_shows_the_first_words_and_nothing_a_terminal_would_obey() -> None:
    with pytest.raises(ResponseRefused) as refused:
        check_head("https://h/disk.img", b"<html>\n<title>502   Bad Gateway</title>\x1b[31m" + b"x" * 500)
    assert "<html> <title>502 Bad Gateway</title>?[31mxxx" in str(refused.value)
    assert len(str(refused.value)) < 250


def test_tiny_and_huge_bodies_are_refused() -> None:
    limits = FetchLimits(min_size=4096, max_size=10_000)

    check_min_size("h", 4096, limits)
    check_max_size("h", 10_000, limits)
    with pytest.raises(ResponseRefused, match="1024 bytes are too small"):
        check_min_size("h", 1024, limits)
    with pytest.raises(TooLarge, match="10001 bytes are more than the limit of 10000"):
        check_max_size("h", 10_001, limits)
