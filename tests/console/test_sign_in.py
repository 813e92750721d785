"""Signing in and out of the console, and what a session is good for."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from phimage import demo
from phimage.catalog.accounts import NewKey
from phimage.console.headers import POLICY
from phimage.http.signature_limit import BURST, RATE
from phimage.installation import recover_operator_key
from phimage.model.account import PrivateKey
from phimage.settings import Settings
from tests.console.visitor import OWN_PAGE, Console, Visitor, console, hidden, main

TENANT = NewKey(demo.PUBLIC_KEY, demo.PRIVATE_KEY)
PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "images.example", "X-Forwarded-For": "192.0.2.7"}
"""What a proxy with TLS adds, which speaks to the server from 127.0.0.2."""


class FromProxy(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, source_address=("127.0.0.2", 0))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    settings = Settings(data_dir=str(tmp_path_factory.mktemp("signin") / "data"), trusted_proxies=("127.0.0.2/32",), rate=1000)
    operator = demo.fill(settings) or recover_operator_key(settings)
    with console(settings, operator, TENANT) as found:
        yield found


def is_in(visitor: Visitor) -> bool:
    """Whether pages are shown to somebody, who is otherwise sent to sign in."""
    page = visitor.get("/console/images")
    assert page.status_code in (200, 303)
    assert page.status_code == 200 or page.headers["Location"].startswith("/console/login?next=")
    return page.status_code == 200


def test_a_link_signs_in_once_with_a_cookie_that_no_script_reads(served: Console) -> None:
    code = served.link(TENANT).partition("#")[2]
    visitor = Visitor(served.url)
    assert not is_in(visitor)
    answer = visitor.use_code(code)
    port = served.url.rpartition(":")[2]
    assert re.fullmatch(rf"phimage-{port}=[\w-]{{43}}; Path=/console/; HttpOnly; SameSite=Strict", answer.headers["Set-Cookie"])
    assert is_in(visitor)
    again = Visitor(served.url).use_code(code)
    assert (again.status_code, "Set-Cookie" in again.headers) == (401, False)
    assert "phimage console" in again.json()["Reason"]


def test_a_key_signs_in_by_a_proof_and_is_never_sent(served: Console) -> None:
    visitor = Visitor(served.url)
    answer = visitor.use_key(TENANT)
    assert answer.status_code == 200
    assert TENANT.private.reveal() not in str(answer.request.body)
    assert is_in(visitor)
    wrong = Visitor(served.url)
    assert wrong.use_key(NewKey(TENANT.public, PrivateKey("wrong"))).json()["Reason"] == "The key pair is not valid."
    assert not is_in(wrong)


def test_the_field_of_the_private_key_has_no_name_so_no_browser_sends_it(served: Console) -> None:
    page = Visitor(served.url).get("/console/login").text
    (field,) = re.findall(r"<input[^>]*type=\"password\"[^>]*>", page)
    assert "name=" not in field


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {},
    ],
    ids=str,
)
def test_a_post_of_another_site_changes_nothing(served: Console, headers: dict[str, str]) -> None:
    visitor = served.visitor()
    form = {"_token": visitor.token, "Account": "evil", "ZoneLimit": "", "NetworkLimit": ""}
    for path in ("/console/changes/create-account", "/console/logout", "/console/publish"):
        refused = visitor.post(path, form, headers)
        assert refused.status_code == 403
        assert "Another site sent this request" in refused.text
    assert Visitor(served.url).post_json("/console/login/code", {"Code": "c"}, headers).status_code == 403
    assert is_in(visitor)


def test_a_form_needs_the_token_of_its_own_session(served: Console) -> None:
    visitor, other = served.visitor(), served.visitor(TENANT)
    for token in ({}, {"_token": ""}, {"_token": other.token}, {"_token": visitor.token[:-1]}):
        refused = visitor.post("/console/changes/create-user", {**token, "Account": "demo", "User": "eve"})
        assert refused.status_code == 403
        assert "The page is not of this session" in refused.text
    assert visitor.post("/console/publish/head", b"", {**OWN_PAGE, "X-Phimage-Token": other.token}).status_code == 403
    assert visitor.look("create-user", Account="demo", User="eve").status_code == 200


def test_a_page_of_another_site_cannot_sign_anybody_in_or_out_with_a_form(served: Console) -> None:
    visitor = served.visitor()
    assert visitor.post("/console/login/code", {"Code": "c"}).status_code == 415
    assert visitor.post("/console/logout", {"_token": "wrong"}).status_code == 403
    assert is_in(visitor)


def test_the_api_and_the_bytes_never_look_at_the_cookie(served: Console) -> None:
    visitor = served.visitor()
    name, secret = visitor.cookie
    headers = {"Cookie": f"{name}={secret}; __Host-phimage={secret}", **OWN_PAGE}
    answer = requests.post(f"{served.url}/", data={"Action": "GetRegion"}, headers=headers, timeout=60)
    assert answer.json()["RetCode"] == 170
    image = requests.get(f"{served.url}/images/{demo.WITH_DISK}.raw", headers=headers, timeout=60)
    assert image.status_code in (400, 401, 403)
    assert requests.get(f"{served.url}/uploads/job-a", headers=headers, timeout=60).status_code in (400, 401, 403)


def test_signing_out_ends_the_session_and_removes_the_cookie(served: Console) -> None:
    visitor = served.visitor()
    name, secret = visitor.cookie
    answer = visitor.post("/console/logout", {"_token": visitor.token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/login")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    thief = Visitor(served.url, Cookie=f"{name}={secret}")
    assert not is_in(thief)


def test_another_sign_in_of_a_browser_is_asked_for_and_ends_its_earlier_session(served: Console) -> None:
    """A link of another site is loaded without the cookie, so only what the page sends tells who is signed in."""
    visitor, code = served.visitor(), served.link(TENANT).partition("#")[2]
    name, secret = visitor.cookie
    asked = visitor.use_code(code)
    assert (asked.status_code, "Set-Cookie" in asked.headers) == (409, False)
    assert asked.json() == {"Instead": "You are signed in as operator/main. Sign in with the link instead?"}
    assert "operator/main" in visitor.get("/console/images").text
    assert visitor.use_code(code, instead=True).status_code == 200
    assert "demo/main" in visitor.get("/console/images").text
    assert not is_in(Visitor(served.url, Cookie=f"{name}={secret}"))


def test_a_session_ends_with_its_key(served: Console) -> None:
    with served.client() as client:
        made = client.call("CreateAccessKey", Account="demo", User="main", ExpireTime=0).fields
        key = NewKey(made["PublicKey"], PrivateKey(made["PrivateKey"]))
        visitor = served.visitor(key)
        assert is_in(visitor)
        client.call("RevokeAccessKey", AccessKey=key.public)
    assert not is_in(visitor)
    assert visitor.post("/console/changes/create-user", {"_token": "any"}).status_code == 403


def test_signing_in_leads_to_the_page_that_was_asked_for_and_to_no_other_site(served: Console) -> None:
    asked = Visitor(served.url).get("/console/images?State=Available&q=a%20b").headers["Location"]
    assert 'data-following="/console/images?State=Available&amp;q=a+b"' in Visitor(served.url).get(asked).text
    evil = Visitor(served.url).get("/console/login?next=https://evil.example/").text
    assert 'data-following="/console/"' in evil


def test_a_link_of_another_site_is_loaded_again_so_that_the_browser_sends_its_cookie(served: Console) -> None:
    page = Visitor(served.url).get("/console/images?q=a", **{"Sec-Fetch-Site": "cross-site"})
    assert page.status_code == 200
    assert '<meta http-equiv="refresh" content="0">' in page.text
    assert "pimg-" not in page.text


def test_a_part_of_a_page_leads_the_whole_page_to_the_sign_in(served: Console) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": f"{served.url}/console/images?q=b"}
    answer = Visitor(served.url).get("/console/images?q=a", **headers)
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == "/console/login?next=%2Fconsole%2Fimages%3Fq%3Db"


@pytest.mark.parametrize("host", ["images.example", "192.0.2.1:8080", "127.0.0.1.evil.example"])
def test_beyond_loopback_without_tls_the_console_refuses_in_words(served: Console, host: str) -> None:
    for answer in (
        Visitor(served.url).get("/console/login", Host=host),
        served.visitor().get("/console/images", Host=host),
        Visitor(served.url).post_json("/console/login/nonce", {}, {**OWN_PAGE, "Host": host}),
    ):
        assert answer.status_code == 403
        assert "The console needs TLS or loopback" in answer.text
        assert "Set-Cookie" not in answer.headers


def behind_the_proxy(served: Console) -> Visitor:
    visitor = Visitor(served.url, **PROXY)
    visitor.http.mount("http://", FromProxy())
    return visitor


@pytest.mark.parametrize("trace", ["Via", "X-Forwarded-For", "X-Real-IP"])
def test_a_proxy_that_is_not_trusted_makes_no_loopback_of_the_world(served: Console, trace: str) -> None:
    """nginx sends the address of the server as the host unless it is told otherwise."""
    visitor = Visitor(served.url, **{trace: "192.0.2.7"})
    page = visitor.get("/console/login")
    assert page.status_code == 403
    assert "trusted_proxies" in page.text
    assert visitor.use_code(served.link().partition("#")[2]).status_code == 403


def test_behind_a_proxy_with_tls_the_cookie_is_of_the_host_alone_and_secure(served: Console) -> None:
    visitor = behind_the_proxy(served)
    cookie = visitor.use_code(served.link().partition("#")[2]).headers["Set-Cookie"]
    assert re.fullmatch(r"__Host-phimage=[\w-]{43}; Path=/; Secure; HttpOnly; SameSite=Strict", cookie)
    secret = cookie.partition(";")[0]
    assert visitor.get("/console/images", Cookie=secret).status_code == 200
    assert visitor.get("/console/images", Cookie=secret.replace("__Host-phimage", "phimage-443")).status_code == 303
    own, other = {"Origin": "https://images.example"}, {"Origin": "https://images.example:8443"}
    assert visitor.post_json("/console/login/nonce", {}, own).status_code == 200
    assert visitor.post_json("/console/login/nonce", {}, other).status_code == 403


def test_an_address_that_tries_too_often_waits_and_a_right_sign_in_still_works(served: Console) -> None:
    visitor = behind_the_proxy(served)
    began, tried = time.monotonic(), 0
    while "does not work any more" in (reason := visitor.use_code("wrong").json()["Reason"]):
        tried += 1
        assert tried <= BURST + RATE * (time.monotonic() - began) + 1
    assert tried > 0
    assert reason.startswith("Too many attempts")
    assert visitor.use_key(TENANT).status_code == 200


def test_every_answer_keeps_the_page_to_itself(served: Console) -> None:
    visitor = served.visitor()
    for answer in (
        visitor.get("/console/images"),
        visitor.get("/console/login"),
        visitor.get("/console/nothing"),
        visitor.post("/console/changes/create-user", {}),
        visitor.post_json("/console/login/code", {"Code": "c"}),
        Visitor(served.url).get("/console/images"),
    ):
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_post_without_a_session_and_to_a_page_without_forms_says_so(served: Console) -> None:
    assert "You are no longer signed in" in Visitor(served.url).post("/console/changes/set-quota", {}).text
    visitor = served.visitor()
    assert visitor.post("/console/images", {"_token": visitor.token}).status_code == 405
    assert visitor.post("/console/changes/unknown", {"_token": visitor.token}).status_code == 404
    assert visitor.post("/console/changes/set-quota", {"a": "b" * 100_000}).status_code == 413
    assert visitor.get("/console/changes/set-quota").headers["Location"] == "/console/quotas"
    assert hidden(main(visitor.look("set-quota", Project="Base", _gib="1").text))["Project"] == "Base"


def test_a_sub_user_is_led_to_a_project_that_it_sees(served: Console) -> None:
    """Its requests must name one, and nobody types addresses."""
    with served.client() as client:
        other = client.call("CreateProject", Account="demo", ProjectName="Other").fields["ProjectId"]
        client.call("CreateUser", Account="demo", User="viewer")
        fields = client.call("CreateAccessKey", Account="demo", User="viewer", ExpireTime=0).fields
        client.call("SetProjectMember", ProjectId="org-xyz", Account="demo", User="viewer", Role="viewer")
        key = NewKey(fields["PublicKey"], PrivateKey(fields["PrivateKey"]))
        visitor = served.visitor(key)
        for path in (
            "/console/",
            "/console/images?ImageType=Base&lang=zh",
            "/console/matrix",
            "/console/jobs",
            "/console/hosts",
        ):
            sent_on = visitor.get(path)
            assert sent_on.status_code == 303
            assert sent_on.headers["Location"] == f"{path}{'&' if '?' in path else '?'}ProjectId=org-xyz"
            page = visitor.get(sent_on.headers["Location"])
            assert page.status_code == 200
            assert 'href="/console/images?ProjectId=org-xyz' in page.text
        client.call("SetProjectMember", ProjectId="org-default", Account="demo", User="viewer", Role="viewer")
        assert visitor.get("/console/").headers["Location"] == "/console/?ProjectId=org-default"
        assert other not in visitor.get("/console/projects?ProjectId=org-default").text
        for project in ("org-xyz", "org-default"):
            client.call("RemoveProjectMember", ProjectId=project, Account="demo", User="viewer")
        assert visitor.get("/console/").status_code == 403
    assert served.visitor(TENANT).get("/console/").status_code == 200
