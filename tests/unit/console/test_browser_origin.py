"""Where a session may exist, its cookie, and which requests are from the console's own pages."""

from __future__ import annotations

import pytest

from phimage.console.address import ROOT
from phimage.console.app import read_cookies
from phimage.console.browser_origin import (
    BrowserOrigin,
    browser_origin,
    form_token,
    inner_address,
    inner_path,
    is_same_token,
)

TLS = "https://images.example"
LOOPBACK = "http://127.0.0.1:8080"
SECRET = "s" * 43


def origin(url: str) -> BrowserOrigin:
    found = browser_origin(url)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "url", [TLS, LOOPBACK, "http://localhost:8080", "http://a.localhost", "http://[::1]:8080", "http://127.9.9.9"]
)
def test_a_session_may_exist_over_tls_and_on_loopback(url: str) -> None:
    assert origin(url).secure is url.startswith("https:")


@pytest.mark.parametrize(
    "url", ["http://images.example", "http://192.0.2.1:8080", "http://127.0.0.1.evil.example", "http://localhost.example"]
)
def test_no_session_exists_on_plain_http_to_another_machine(url: str) -> None:
    assert browser_origin(url) is None


def test_the_cookie_over_tls_belongs_to_one_host_and_is_secure() -> None:
    assert origin(TLS).set_cookie(SECRET) == f"__Host-phimage={SECRET}; Path=/; Secure; HttpOnly; SameSite=Strict"
    assert origin(TLS).clear_cookie() == "__Host-phimage=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict"


def test_the_cookie_on_loopback_is_sent_to_the_console_alone_and_differs_from_that_of_another_port() -> None:
    assert origin(LOOPBACK).set_cookie(SECRET) == f"phimage-8080={SECRET}; Path=/console/; HttpOnly; SameSite=Strict"
    assert origin("http://127.0.0.1").cookie == "phimage-80"


def test_below_a_prefix_the_cookie_is_sent_to_that_console_alone_and_the_origin_is_the_same() -> None:
    below = origin(f"{LOOPBACK}/w/t1")
    assert below.set_cookie(SECRET) == f"phimage-8080={SECRET}; Path=/w/t1/console/; HttpOnly; SameSite=Strict"
    assert below.is_own_request({"origin": LOOPBACK})


def test_the_secret_is_that_of_the_cookie_of_this_origin() -> None:
    cookies = {"phimage-8081": "o" * 43, "phimage-8080": SECRET, "__Host-phimage": "h" * 43}
    assert origin(LOOPBACK).secret(cookies) == SECRET
    assert origin(TLS).secret(cookies) == "h" * 43


@pytest.mark.parametrize("value", ["", "short", "s" * 44, "s" * 42 + "%", "s" * 42 + "ä"])
def test_a_cookie_that_is_no_secret_counts_as_none(value: str) -> None:
    assert origin(LOOPBACK).secret({"phimage-8080": value}) == ""
    assert origin(LOOPBACK).secret({}) == ""


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, True),
        ({"origin": TLS}, True),
        ({"sec-fetch-site": "same-site", "origin": TLS}, False),
        ({"sec-fetch-site": "cross-site", "origin": TLS}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": ""}, False),
        ({"origin": "null"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": f"{TLS}:8443"}, False),
        ({"origin": "http://images.example"}, False),
        ({}, False),
    ],
)
def test_a_change_must_come_from_a_page_of_the_same_origin(fields: dict[str, str], own: bool) -> None:
    assert origin(TLS).is_own_request(fields) is own


def test_a_form_token_fits_one_session_and_does_not_tell_its_secret() -> None:
    token = form_token(SECRET)
    assert is_same_token(form_token(SECRET), token)
    assert SECRET not in token
    for wrong in (form_token("t" * 43), "", token[:-1], f"{token}0", "ä", "\udc80"):
        assert not is_same_token(token, wrong)


@pytest.mark.parametrize("path", ["/console/", "/console/images?State=Available&q=%E4%B8%AD", "/console/images/pimg-os-a/why"])
def test_a_sign_in_leads_to_the_page_that_was_asked_for(path: str) -> None:
    assert inner_path(path) == path


def test_below_a_prefix_a_sign_in_leads_to_that_console_alone() -> None:
    root = "/w/t.1/console/"
    assert inner_path(f"{root}images", root) == f"{root}images"
    for path in ("/console/images", "/w/t-1/console/images", "/w/other/console/", f"{root}login"):
        assert inner_path(path, root) == root


@pytest.mark.parametrize(
    "path",
    [
        "",
        "https://evil.example/console/",
        "//evil.example/console/",
        "/",
        "/consoles/",
        "/console",
        "/console/\\evil",
        "/console/ ",
        "/console/\r\nSet-Cookie: a=b",
        "/console/login",
        "/console/login?next=/console/login",
        "javascript:alert(1)",
    ],
)
def test_a_sign_in_leads_nowhere_else(path: str) -> None:
    assert inner_path(path) == "/console/"


@pytest.mark.parametrize(
    ("field", "cookies"),
    [
        ("", {}),
        ("phimage-8080=abc; phimage-language=zh", {"phimage-8080": "abc", "phimage-language": "zh"}),
        ("a=1;b=2;;a=3; c ; =d", {"a": "3", "b": "2", "": "d"}),
        ('a="x\\"y; b"; b==', {"a": '"x\\"y', "b": "="}),  # Python's parser takes minutes for many quotes with backslashes
    ],
)
def test_cookies_are_read_up_to_the_next_semicolon(field: str, cookies: dict[str, str]) -> None:
    assert read_cookies(field) == cookies


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (f"{TLS}/console/images?q=a", "/console/images?q=a"),
        (f"{TLS}/console/matrix", "/console/matrix"),
        (f"{TLS}/console/login?next=x", ROOT),
        ("https://other.example//other.example/", ROOT),
        ("javascript:alert(1)", ROOT),
        ("http://[", ROOT),
        ("", ROOT),
    ],
)
def test_the_page_around_a_part_is_one_of_the_console(url: str, address: str) -> None:
    assert inner_address(url) == address
