"""The console of a world: it stays below the world's prefix, and who looks at it changes nothing of the test."""

from __future__ import annotations

import re
from collections import Counter, deque
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from phimage.catalog.accounts import NewKey
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey
from phimage.pytest import PhimageServer, PhimageWorld
from tests.ci.raw import get, listing
from tests.ci.test_faults import DISK, PUBLISH, published
from tests.console.visitor import Visitor

ADDRESSES = ("href", "src", "action", "hx-get", "hx-post", "data-head", "data-job", "data-upload", "data-following")
"""The attributes of pages that have addresses."""
EACH = 4
"""Pages of a kind that are followed."""
HTML = {"Accept": "text/html"}
FAULTS = ("delay-1ms@DescribePHostImage:first=2", "lost@GetRegion:nth=9")


class Addresses(HTMLParser):
    """The addresses of a page: those of all its attributes, and those of its links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = [value for name, value in attrs if name in ADDRESSES and value is not None]
        self.all += [address for address in found if not address.startswith("#")]
        self.links += [address for address in found if tag == "a" and not address.startswith("#")]


def console_of(base: str, world: PhimageWorld, who: str) -> Visitor:
    """Somebody who signed in with a key at a base URL of a world."""
    key = NewKey(PublicKey(world.server.keys[who].public), PrivateKey(world.server.keys[who].private))
    visitor = Visitor(base)
    answer = visitor.use_key(key)
    assert answer.status_code == 200, answer.text
    root = re.escape(f"{urlsplit(base).path}/console/")
    assert re.search(rf"; Path={root}; HttpOnly; SameSite=Strict$", answer.headers["Set-Cookie"])
    return visitor


def kind_of(address: str) -> str:
    """The path of a page without its ids. Pages of past catalogues are a kind of their own."""
    path, _, query = address.partition("?")
    kind = re.sub(r"/console/(images|hosts|jobs|log|accounts)/[^/]+", r"/console/\1/ID", path)
    return f"{kind}?rev" if "rev=" in query else kind


@pytest.mark.parametrize("who", ["demo", "operator"])
@pytest.mark.parametrize("faults", [(), pytest.param(FAULTS, marks=pytest.mark.more)], ids=["", "faults"])
def test_no_address_of_a_page_leaves_the_world(world: PhimageWorld, who: str, faults: tuple[str, ...]) -> None:
    base = world.url_with(*faults) if faults else world.url
    prefix = urlsplit(base).path
    visitor = console_of(base, world, who)
    seen: Counter[str] = Counter()
    waiting, known = deque([f"{prefix}/console/", f"{prefix}/console/images?rev=3&lang=zh&theme=dark"]), set[str]()
    while waiting:
        path = waiting.popleft()
        kind = kind_of(path)
        if path in known or seen[kind] >= EACH or "/download/" in path:
            continue
        known.add(path)
        seen[kind] += 1
        answer = visitor.get(path.removeprefix(prefix), **HTML)
        assert answer.status_code == 200, path
        assert f"Path={prefix}/console/;" in answer.headers.get("Set-Cookie", f"Path={prefix}/console/;")
        page = Addresses(answer.text)
        inside = (f"{prefix}/console/", f"{prefix}/uploads/")
        assert [address for address in page.all if not urljoin(path, address).startswith(inside)] == [], path
        waiting += [urljoin(path, address) for address in page.links]
    pages = {"", "images", "images?rev", "images/ID", "images/ID?rev", "images/ID/edit", "images/ID/why"}
    pages |= {"matrix", "matrix?rev", "jobs", "hosts", "projects", "publish"}
    if who == "operator":
        pages |= {"log", "log/ID", "store", "quotas", "accounts", "accounts/ID", "keys"}
    assert {f"{prefix}/console/{page}" for page in pages} <= set(seen)


def test_every_way_into_the_console_of_a_world_stays_in_it(world: PhimageWorld) -> None:
    stranger = Visitor(world.url)
    root = f"/w/{world.name}/console/"
    assert stranger.get("/", **HTML).headers["Location"] == root
    assert stranger.get("/console", **HTML).headers["Location"] == root
    asked = stranger.get("/console/images?State=Available").headers["Location"]
    assert asked == f"{root}login?next={root.replace('/', '%2F')}images%3FState%3DAvailable"
    part = {"HX-Request": "true", "HX-Current-URL": f"{world.url}/console/jobs"}
    assert stranger.get("/console/jobs", **part).headers["HX-Redirect"] == f"{root}login?next={root.replace('/', '%2F')}jobs"
    page = stranger.get(asked.removeprefix(f"/w/{world.name}")).text
    assert f'data-following="{root}images?State=Available"' in page
    for other in ("/console/images", "/w/other/console/images", "https://evil.example/"):
        assert f'data-following="{root}"' in stranger.get(f"/console/login?next={other}").text
    for address in Addresses(page).all:
        if "/static/" in address:
            assert stranger.http.get(urljoin(world.url, address), timeout=60).status_code == 200
    with world.operator as operator:
        link = str(operator.call("CreateConsoleLogin").fields["LoginUrl"])
    assert link.startswith(f"{world.url}/console/login#")
    assert stranger.use_code(link.partition("#")[2]).status_code == 200
    assert stranger.get("/console/log").status_code == 200
    in_another_world = Visitor(world.url.replace(world.name, "other"), Cookie="=".join(stranger.cookie))
    assert in_another_world.get("/console/log").status_code == 303
    answer = stranger.post("/console/logout", {"_token": stranger.token})
    assert answer.headers["Location"] == f"{root}login"
    assert f"Path={root};" in answer.headers["Set-Cookie"]


def test_a_form_changes_the_world_and_leads_back_to_its_page(world: PhimageWorld) -> None:
    visitor = console_of(world.url, world, "operator")
    back = f"/w/{world.name}/console/quotas"
    shown = visitor.look("set-quota", Project="Base", _gib="3", _back=back)
    assert f'href="{back}"' in shown.text
    made = visitor.confirm("set-quota", shown)
    assert made.headers["Location"] == f"{back}?done=set-quota"
    assert "3 GiB" in visitor.get("/console/quotas").text
    astray = visitor.confirm("set-quota", visitor.look("set-quota", Project="Base", _gib="4", _back="/console/quotas"))
    assert astray.headers["Location"] == f"/w/{world.name}/console/?done=set-quota"


def test_a_download_of_a_world_is_one_of_its_bytes(world: PhimageWorld) -> None:
    visitor = console_of(world.url, world, "demo")
    location = visitor.get(f"/console/images/{DISK}/download/sha256").headers["Location"]
    assert location.startswith(f"{world.url}/images/{DISK}.sha256?")
    assert visitor.http.get(location, timeout=60).status_code == 200


def test_a_session_follows_the_clock_of_its_world(world: PhimageWorld) -> None:
    visitor = console_of(world.url, world, "demo")
    world.clock.advance(minutes=59)
    assert visitor.get("/console/images").status_code == 200
    world.clock.advance(minutes=61)
    assert visitor.get("/console/images").status_code == 303


def test_who_looks_at_a_world_spends_no_fault_and_is_in_no_journal(world: PhimageWorld) -> None:
    world.fault("http-502", first=1)
    world.transition({"looks": 2})
    with world.operator as operator:
        visitor = console_of(world.url, world, "operator")
        assert visitor.get("/console/images").status_code == 200
        assert world.journal() == []
        world.clear_faults()
        made = operator.call("PublishPHostImage", **PUBLISH, Url="http://192.0.2.1/disk.raw")
        for _ in range(4):
            assert visitor.get(f"/console/images/{made.fields['ImageId']}").status_code == 200
    assert published(world) == 1


def test_who_looks_at_a_world_takes_no_request_id_from_its_test(ci_server: PhimageServer) -> None:
    worlds = [PhimageWorld(ci_server, name) for name in ("watched", "not-watched")]
    assert console_of(worlds[0].url, worlds[0], "demo").get("/console/images").status_code == 200
    for world in worlds:
        get(f"{world.url}/?{listing(world)}")
    watched, other = (world.journal()[0].request_id for world in worlds)
    assert watched == other


def test_a_publication_from_the_console_of_a_world_ends(world: PhimageWorld) -> None:
    visitor = console_of(world.url, world, "operator")
    world.transition({"fail": "no space left"})
    form = [("_token", visitor.token), ("_from", "url"), ("_verify", "trust"), ("Url", "http://192.0.2.1/disk.raw")]
    form += [(name, str(value)) for name, value in PUBLISH.items() if name not in ("TrustFirstUse", "Zone", "Support")]
    form += [("Zone", PUBLISH["Zone"][0]), ("Support", "DB-2:10G"), ("Token", "t1")]
    shown = visitor.post("/console/publish", form)
    confirmed = re.findall(r'name="(_nonce|_shown)" value="([^"]+)"', shown.text)
    assert len(confirmed) == 2, shown.text
    begun = visitor.post("/console/publish", [*form, ("_step", "go"), *confirmed])
    job = begun.headers["Location"]
    assert job.startswith(f"/w/{world.name}/console/jobs/")
    assert "no space left" in visitor.get(job.removeprefix(f"/w/{world.name}")).text
