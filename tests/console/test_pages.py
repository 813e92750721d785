"""Pages without a browser: who sees what, and that they say what the API says."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from datetime import datetime
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from phimage.console.headers import POLICY
from phimage.errors import Refused
from tests.console.catalogue import EVIL
from tests.console.conftest import OPERATOR, TENANT
from tests.console.pages import PAGES
from tests.console.site import ConsoleSite, serving

ZONE = "cn-bj2-02"
ROW = re.compile(r'<td class="id"[^>]*>([^<]+)</td>')
COUNT = re.compile(r'<p class="count"[^>]*>([\d,]+) image')
CELL = re.compile(r'<a class="cell (yes|no)" href="/console/images/([^/]+)/why\?([^"]+)"')


def ids(text: str) -> list[str]:
    """The ids of a page of images."""
    return ROW.findall(text)


def count(text: str) -> int:
    """The number of images that a page speaks of."""
    found = COUNT.search(text)
    assert found, text[:2000]
    return int(found[1].replace(",", ""))


def test_every_page_keeps_to_itself(site: ConsoleSite) -> None:
    for page in PAGES:
        response = site.get(page.path, page.who)

        assert response.status == {"absent": 404, "refused": 403}.get(page.name, 200), page.name
        assert response.headers["content-security-policy"] == POLICY
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cross-origin-opener-policy"] == "same-origin"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*', response.text) == []


def test_without_a_session_every_page_leads_to_the_sign_in_page(site: ConsoleSite) -> None:
    for page in PAGES:
        if page.name == "sign-in":
            continue
        response = site.get(page.path)

        assert response.status == 303, page.name
        assert response.headers["location"].startswith("/console/login?next=%2Fconsole%2F")


def test_a_browser_at_the_root_is_sent_to_the_console_and_a_program_is_told_what_this_is(site: ConsoleSite) -> None:
    browser = site.get("/", Accept="text/html,application/xhtml+xml")
    program = site.get("/", Accept="*/*")

    assert (browser.status, browser.headers["location"]) == (303, "/console/")
    assert site.get("/console", Accept="text/html").headers["location"] == "/console/"
    assert program.status == 200
    assert "/console/" in program.text
    assert "/openapi.json" in program.text


def test_markup_of_tenants_is_a_text_on_every_page(site: ConsoleSite) -> None:
    paths = [
        "/console/images?ImageType=Custom",
        "/console/images/pimg-os-inert",
        "/console/images/pimg-os-inert/why?Zone=cn-bj2-02",
        "/console/matrix?ImageType=Custom",
    ]
    places = [(path, TENANT) for path in paths] + [
        ("/console/log", OPERATOR),
        ("/console/", OPERATOR),
        ("/console/log/16", OPERATOR),
    ]

    for path, who in places:
        text = site.get(path, who).text
        assert unescape(text).count(EVIL) > text.count(EVIL) == 0, path
    asked = site.get(f"/console/images?{urlencode({'q': EVIL, 'Zone': EVIL, 'sort': EVIL, 'page': EVIL})}", TENANT)
    assert "<script>alert" not in asked.text


def test_a_tenant_sees_of_others_what_does_not_exist(site: ConsoleSite) -> None:
    site.sessions.by_cookie["stranger"] = site.sessions.by_cookie[OPERATOR].__class__(
        site.keys[TENANT].public, site.sessions.by_cookie[TENANT].account, "main", True, "forged"
    )

    absent = site.get("/console/images/pimg-os-nothing", TENANT)
    foreign = site.get("/console/images/pimg-os-lab2v8pd?ProjectId=org-default", TENANT)

    assert absent.status == foreign.status == 404
    strip = re.compile(r"pimg-os-[a-z0-9]+|[0-9a-f-]{36}|ProjectId=org-default(&amp;)?")
    assert strip.sub("", absent.text).count("RetCode") == strip.sub("", foreign.text).count("RetCode")
    assert "there is no such image, or this project cannot see it" in foreign.text
    for path in ("/console/log", "/console/store", "/console/quotas", "/console/log/2"):
        assert site.get(path, TENANT).status == 403
        assert site.get(path, "stranger").status == 403, "the key decides, not what the session believes of it"


def test_an_unknown_name_in_a_filter_is_an_error_that_names_it(site: ConsoleSite) -> None:
    response = site.get("/console/images?Zone=nowhere-01", TENANT)

    assert response.status == 404
    assert "Zone" in response.text
    assert re.search(r"<dt>RetCode</dt><dd>230</dd>", response.text)
    assert re.search(r"<code>[0-9a-f-]{36}</code>", response.text)


def test_only_what_goes_on_has_a_progress(site: ConsoleSite) -> None:
    rows = site.get("/console/jobs", OPERATOR).text.partition("<tbody>")[2].split("</tr>")

    progress = {name: "<progress" in row for row in rows for name in re.findall(r'class="name"[^>]*>([^<]+)<', row)}
    assert progress.pop("build-runner")
    assert set(progress.values()) == {False}
    assert "kernel-lab-old" in progress


AS_OF = re.compile(r'<span class="pin quiet">.*?as of <time datetime="([^"]+)"', re.DOTALL)


def test_the_store_and_the_quotas_say_when_they_were_measured_and_read(site: ConsoleSite) -> None:
    with site.client(OPERATOR) as client:
        measured = client.call("GetStoreStatistics").fields["MeasureTime"]
    before = int(time.time())
    store, quotas = (AS_OF.search(site.get(path, OPERATOR).text) for path in ("/console/store", "/console/quotas"))

    assert store
    assert quotas
    assert datetime.fromisoformat(store[1]).timestamp() == measured
    assert before <= datetime.fromisoformat(quotas[1]).timestamp() <= time.time()


def test_a_page_without_a_past_says_so_and_shows_the_present(site: ConsoleSite) -> None:
    for path in ("", "store", "quotas", "accounts", "accounts/demo", "projects", "keys", "jobs", "hosts", "publish", "log/14"):
        page = site.get(f"/console/{path}?rev=3", OPERATOR)
        timed = site.get(f"/console/{path}?at=2024-01-02T00:30:00Z", OPERATOR)

        assert (page.status, timed.status) == (200, 200), path
        assert "revision 3. This page does not belong to it: it shows the present." in page.text
        assert "2024-01-02 00:30</time>. This page does not belong to it" in timed.text
        assert "Nothing can be changed here" not in page.text + timed.text
    overview = site.get("/console/?rev=3", OPERATOR).text
    assert re.findall(r"<b>(\d+)</b>", overview) == re.findall(r"<b>(\d+)</b>", site.get("/console/", OPERATOR).text)
    zones = re.compile(r'name="Zone" value="[^"]+"')
    assert zones.findall(site.get("/console/publish?rev=0", OPERATOR).text) == zones.findall(
        site.get("/console/publish", OPERATOR).text
    )


def test_a_page_of_a_past_revision_shows_what_the_pinned_api_shows(site: ConsoleSite) -> None:
    for revision in (2, 4, 9, 17):
        page = site.get(f"/console/images?Zone={ZONE}&ImageType=Custom&rev={revision}", TENANT)
        with site.client(TENANT) as client:
            client.endpoint += f"/rev/{revision}"
            found = client.call("FindPHostImages", Zone=ZONE, ImageType="Custom", Deprecated="include", Limit=50).fields

        assert ids(page.text) == [row["Image"]["ImageId"] for row in found["ImageSet"]]


def queries(number: int) -> Iterator[dict[str, Any]]:
    """Random questions of people."""
    chance = random.Random(17)
    for _ in range(number):
        asked = {
            "Zone": chance.choice(["", "", ZONE, ZONE, "hk-02"]),
            "MachineType": chance.choice(["", "", "", "DB-2", "Base-SSD-V5"]),
            "Cluster": chance.choice(["", "", "", "10G", "25G"]),
            "ImageType": chance.choice(["", "", "", "Base", "Custom"]),
            "State": chance.choice(["", "", "", "Available", "Unavailable"]),
            "Deprecated": chance.choice(["", "", "exclude", "only"]),
            "Family": chance.choice(["", "", "", "", "debian-12"]),
            "q": chance.choice(["", "", "", "ubuntu", "64", "WEB", "位"]),
            "sort": chance.choice(["", "name", "-created", "version", "-size"]),
            "page": chance.choice(["", "", "1", "2"]),
            "ProjectId": chance.choice(["", "org-default", "org-xyz"]),
        }
        yield {name: value for name, value in asked.items() if value}


@pytest.mark.parametrize("number", [20, pytest.param(200, marks=pytest.mark.more)])
def test_lists_and_counts_are_those_of_the_api(site: ConsoleSite, number: int) -> None:
    shown = 0
    with site.client(TENANT) as client:
        for asked in queries(number):
            page = site.get(f"/console/images?{urlencode(asked)}", TENANT)
            words = {"q": "Text", "sort": "Sort"}
            params = {words.get(name, name): value for name, value in asked.items() if name != "page"}
            params.setdefault("Deprecated", "include")
            offset = 50 * (int(asked.get("page", 1)) - 1)
            try:
                found = client.call("FindPHostImages", **params, Limit=50, Offset=offset).fields
            except Refused:
                found = {}
            assert (page.status == 200) == bool(found), asked
            if not found:
                continue
            assert ids(page.text) == [row["Image"]["ImageId"] for row in found["ImageSet"]], asked
            assert count(page.text) == found["TotalCount"], asked
            shown += len(found["ImageSet"])
    assert shown > 3 * number, "most questions have an answer"


@pytest.mark.parametrize("number", [20, pytest.param(400, marks=pytest.mark.more)])
def test_each_cell_of_the_matrix_is_what_the_explanation_says(site: ConsoleSite, number: int) -> None:
    page = site.get(f"/console/matrix?Zone={ZONE}", TENANT)
    cells = CELL.findall(page.text)
    chance = random.Random(5)

    assert {sign for sign, _, _ in cells} == {"yes", "no"}
    with site.client(TENANT) as client:
        for sign, image, query in chance.sample(cells, number):
            asked = dict(part.split("=") for part in unescape(query).split("&"))
            explained = client.call("ExplainPHostImage", Region=ZONE.rpartition("-")[0], ImageId=image, **asked).fields
            assert explained["Listed"] == (sign == "yes"), (image, asked)
            why = site.get(f"/console/images/{image}/why?{unescape(query)}", TENANT).text
            assert ("It is listed" in why) == explained["Listed"]


def test_a_download_leads_to_a_ticket_for_the_same_bytes(site: ConsoleSite) -> None:
    response = site.get("/console/images/pimg-os-web7k2ma/download/sha256", TENANT)

    assert response.status == 303
    assert re.search(r"/images/pimg-os-web7k2ma\.sha256\?", response.headers["location"])
    digest = site.get(response.headers["location"].removeprefix(site.url)).text.split()[0]
    assert digest in site.get("/console/images/pimg-os-web7k2ma", TENANT).text


def test_the_log_is_searched_and_paged_in_the_address(site: ConsoleSite) -> None:
    def revisions(query: str) -> list[int]:
        text = site.get(f"/console/log?{query}", OPERATOR).text
        return [int(number) for number in re.findall(r'<a class="name" href="[^"]*/log/(\d+)', text)]

    everything = revisions("")
    assert everything == sorted(everything, reverse=True)
    assert revisions("before=5") == [4, 3, 2, 1]
    assert 0 < len(revisions("noun=quota")) < len(everything)
    assert revisions("noun=quota&rev=3") == []
    assert set(revisions("id=pimg-os-web7k2ma")) < set(everything)
    assert revisions("actor=command+line") != everything
    assert revisions("actor=nobody") == []


def test_a_small_limit_of_lists_makes_small_pages(site: ConsoleSite) -> None:
    with serving(replace(site.settings, max_limit=7)) as small:
        small.sessions.by_cookie = site.sessions.by_cookie
        first, second = (small.get(f"/console/images?Zone={ZONE}&page={page}", OPERATOR) for page in (1, 2))
        store, host = (small.get(path, OPERATOR) for path in ("/console/store", "/console/hosts/upm-stopped1"))
    both = ids(site.get(f"/console/images?Zone={ZONE}", OPERATOR).text)[:14]

    assert ids(first.text) + ids(second.text) == both
    assert (store.status, host.status) == (200, 200)
    assert "web-frontend" in store.text


def test_the_reasons_of_a_chinese_page_are_chinese(site: ConsoleSite) -> None:
    page = site.get("/console/images/pimg-ub-rm081p/why?Zone=cn-bj2-02&MachineType=DB-2&Cluster=25G&lang=zh", TENANT)

    assert "所查可用区没有在网络集群 25G 上提供 DB-2" in page.text
    assert 'lang="en"' not in page.text.partition("<main")[2].partition("</main>")[0]
