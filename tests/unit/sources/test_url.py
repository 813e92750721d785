"""URLs are parsed strictly, and shown without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phimage.sources.errors import UrlRefused
from phimage.sources.url import Url, read_url, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://mirror.example/a.img", Url("http", "mirror.example", 80, "/a.img")),
        ("HTTPS://Mirror.Example", Url("https", "mirror.example", 443, "/")),
        ("https://mirror.example.:8443/a?b=c#d", Url("https", "mirror.example", 8443, "/a?b=c")),
        ("http://mirror.example:/a", Url("http", "mirror.example", 80, "/a")),
        ("http://mirror.example?x", Url("http", "mirror.example", 80, "/?x")),
        ("http://1.2.3.4:8080/a", Url("http", "1.2.3.4", 8080, "/a")),
        ("http://[2606:4700::1]:81/a", Url("http", "2606:4700::1", 81, "/a")),
        ("http://xn--bcher-kva.example/a", Url("http", "xn--bcher-kva.example", 80, "/a")),
        ("http://my_mirror/a%20b/c@d?e=f/g?h", Url("http", "my_mirror", 80, "/a%20b/c@d?e=f/g?h")),
        ("http://h/镜像.img?q=ü", Url("http", "h", 80, "/%E9%95%9C%E5%83%8F.img?q=%C3%BC")),
        ("http://3com.example/", Url("http", "3com.example", 80, "/")),
        ("http://0xdead.example/", Url("http", "0xdead.example", 80, "/")),
    ],
)
def test_a_good_url_is_read_into_what_is_sent(text: str, expected: Url) -> None:
    assert read_url(text) == expected
    assert read_url(expected.text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "scheme"),
        ("mirror.example/a.img", "scheme"),
        ("//mirror.example/a.img", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("ftp://mirror.example/a", "scheme"),
        ("gopher://127.0.0.1:6379/_INFO", "scheme"),
        ("unix:///var/run/docker.sock", "scheme"),
        ("http+unix://%2Fvar%2Frun%2Fdocker.sock/info", "scheme"),
        ("data:text/plain,hello", "scheme"),
        ("jar:http://h!/", "scheme"),
        ("http:/h/a", "host"),
        ("http:a", "host"),
        ("http://", "host"),
        ("http:///a", "host"),
        ("http://:80/a", "host"),
        ("http://h:x/", "host"),
        ("http://h:0/", "port"),
        ("http://h:99999/", "port"),
        ("http://h:999999/", "host"),
        ("http://user@h/", "credentials"),
        ("http://user:pass@h/", "credentials"),
        ("http://@h/", "credentials"),
        ("http://good.example@127.0.0.1/", "credentials"),
        ("http://h h/", "letters"),
        ("http://h/a b", "letters"),
        (" http://h/", "letters"),
        ("http://h/\n", "letters"),
        ("http://h\t/", "letters"),
        ("http://h/\r\nX: y", "letters"),
        ("http://good.example\\@127.0.0.1/", "letters"),
        ("http:\\\\127.0.0.1/", "letters"),
        ("http://2130706433/", "notation"),
        ("http://0x7f000001/", "notation"),
        ("http://0x7f.0x0.0x0.0x1/", "notation"),
        ("http://0177.0.0.1/", "notation"),
        ("http://017700000001/", "notation"),
        ("http://127.1/", "notation"),
        ("http://127.0.1/", "notation"),
        ("http://127.0.0.1./", "notation"),
        ("http://0/", "notation"),
        ("http://0x/", "notation"),
        ("http://1.2.3.4.5/", "notation"),
        ("http://256.1.1.1/", "notation"),
        ("http://a.1/", "notation"),
        ("http://127.0.0.01/", "notation"),
        ("http://%31%32%37.0.0.1/", "host"),
        ("http://①②⑦.⓪.⓪.①/", "host"),
        ("http://127。0。0。1/", "host"),
        ("http://bücher.example/", "host"),
        ("http://[::1/", "host"),
        ("http://[fe80::1%25eth0]/", "host"),
        ("http://[::ffff:127.0.0.1]x/", "host"),
        ("http://[127.0.0.1]/", "host"),
        ("http://[v1.a]/", "host"),
        ("http://a..b/", "host"),
        ("http://.a/", "host"),
        ("http://" + "a" * 64 + "/", "host"),
        ("http://" + "a." * 127 + "abc/", "host"),
        ("http://h/" + "a" * 8192, "length"),
    ],
)
def test_any_other_url_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        read_url(text)
    assert refused.value.reason == reason
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b", "http://h:81/b"),
        ("b?c", "http://h:81/x/b?c"),
        ("../b", "http://h:81/b"),
        ("//other/b", "http://other/b"),
        ("https://other/b", "https://other/b"),
        ("?q", "http://h:81/x/a?q"),
        ("/ä", "http://h:81/%C3%A4"),
    ],
)
def test_a_redirect_is_read_from_where_it_stands(location: str, expected: str) -> None:
    assert read_url("http://h:81/x/a").join(location).text == expected


@pytest.mark.parametrize("location", ["file:///etc/passwd", "//u:p@h/", "/a\nb", "\\\\h\\a", "http://2130706433/", "//0x7f.1/"])
def test_a_redirect_is_as_strict_as_a_url(location: str) -> None:
    with pytest.raises(UrlRefused):
        read_url("http://h/a").join(location)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h/a?token=SECRET&x=SECRET", "http://h/a?token=***&x=***"),
        ("http://h/a?SECRET", "http://h/a?***"),
        ("http://h/a#SECRET", "http://h/a"),
        ("http://u:SECRET@h/a", "http://***@h/a"),
        ("http://u:SECRET@h/a?k=SECRET", "http://***@h/a?k=***"),
        ("http://u:p/SECRET@h/a", "http://***@h/a"),
        ("http://u:p?SECRET@h/a", "http://***@h/a"),
        ("http://u:p#SECRET@h/a", "http://***@h/a"),
        ("http://u:SECRET\\@h/a", "http://***@h/a"),
        ("u:SECRET@h/a", "u://***@h/a"),
        ("http://h/a@v1", "http://h/a@v1"),
        ("http://h/\x1b[31mred", "http://h/?[31mred"),
    ],
)
def test_people_see_no_secrets(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_long_url_is_shown_short() -> None:
    assert len(shown("http://h/" + "a" * 5000)) == 300


@given(st.text(), st.sampled_from(["", "http://", "https://h/", "http://h:80@", "http://[::1]", "http://u:p@h"]))
def test_whatever_is_read_has_a_canonical_form(text: str, start: str) -> None:
    try:
        url = read_url(start + text)
    except UrlRefused as refused:
        text = str(refused)
        assert text.isprintable()
        return
    assert url.text.isascii()
    assert url.text.isprintable()
    assert read_url(url.text) == url
    assert "@" not in url.authority


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("http://h/a/disk.qcow2?x=/y", "disk.qcow2"),
        ("http://h/a%20b.img", "a b.img"),
        ("http://h/a/", ""),
        ("http://h", ""),
        ("http://h/..%2f..%2fetc%2fpasswd", "passwd"),
    ],
)
def test_the_name_is_the_last_part_of_the_path(text: str, name: str) -> None:
    assert read_url(text).name == name


def test_the_file_is_the_path_as_people_write_it() -> None:
    assert read_url("http://h/cloud/a%20b/disk.img?x=y").file == "cloud/a b/disk.img"
