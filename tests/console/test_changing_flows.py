"""What people change in Chromium: signing in, keys and quotas, and publishing files and URLs."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from phimage import catalog_file, demo, demo_disk
from phimage.application import run_publisher
from phimage.catalog.accounts import NewKey
from phimage.chunks.uploads import PART
from phimage.client import Client
from phimage.installation import recover_operator_key
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey
from phimage.settings import Settings
from tests.console.conftest import WAIT_MILLISECONDS
from tests.console.host_rows import add_stopped_host
from tests.console.visitor import Console, Gate, console, wait_until, write_disk
from tests.e2e.process import Phimage, Server
from tests.formats.qemu_images import BAD
from tests.uploading import free_port

TENANT = NewKey(demo.PUBLIC_KEY, demo.PRIVATE_KEY)
LONG_SECONDS = 900
"""For a gibibyte on a loaded machine."""
Person = Callable[[NewKey | None], Page]
"""Opens a browser in which somebody has signed in by a link; None is the operator."""


@pytest.fixture(scope="module")
def gate() -> Gate:
    """What the uploads go through."""
    return Gate()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, gate: Gate) -> Iterator[Console]:
    """A console with a publisher that may fetch from this machine."""
    folder = tmp_path_factory.mktemp("changing") / "data"
    settings = Settings(
        data_dir=str(folder), fetch_networks=("127.0.0.0/8",), fetch_ports=(), require_sandbox=False, min_free_mb=0, rate=1000
    )
    operator = demo.fill(settings) or recover_operator_key(settings)
    stop = threading.Event()
    with console(settings, operator, TENANT, gate) as found:
        publisher = threading.Thread(target=run_publisher, args=(settings, stop))
        publisher.start()
        try:
            yield found
        finally:
            stop.set()
            publisher.join()


@pytest.fixture
def person(served: Console, browser: Browser) -> Iterator[Person]:
    contexts = []

    def open_it(key: NewKey | None = None) -> Page:
        context = browser.new_context(locale="en-GB")
        context.set_default_timeout(WAIT_MILLISECONDS)
        contexts.append(context)
        page = context.new_page()
        page.goto(served.link(key))
        page.wait_for_url("**/console/")
        return page

    yield open_it
    for context in contexts:
        context.close()


def test_somebody_signs_in_by_a_link_out_and_in_by_a_key(served: Console, person: Person) -> None:
    page = person(TENANT)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/console/login")
    page.goto(f"{served.url}/console/images?State=Available")
    page.get_by_label("Public key").fill(TENANT.public)
    page.get_by_label("Private key").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The key pair is not valid.")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
    page.get_by_label("Private key").fill(TENANT.private.reveal())
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/images?State=Available")
    expect(page.get_by_role("heading", name="Images")).to_be_visible()
    assert not any(TENANT.private.reveal() in each for each in sent)


@pytest.mark.more
def test_a_link_asks_somebody_who_is_signed_in_and_leaves_no_code_in_the_history(served: Console, person: Person) -> None:
    page = person(TENANT)
    page.goto(served.link())
    expect(page.get_by_text("You are signed in as demo/main. Sign in with the link instead?")).to_be_visible()
    assert "#" not in page.url
    page.get_by_role("button", name="Use the link").click()
    page.wait_for_url("**/console/")
    expect(page.get_by_text("operator/main")).to_be_visible()


@pytest.mark.more
def test_a_link_of_another_site_asks_somebody_who_is_signed_in_too(served: Console, person: Person) -> None:
    page = person(TENANT)
    page.goto(f"{served.url.replace('127.0.0.1', 'localhost')}/healthz")
    with page.expect_navigation():
        page.evaluate("address => { location.href = address }", served.link())
    expect(page.get_by_text("You are signed in as demo/main. Sign in with the link instead?")).to_be_visible()
    page.goto(f"{served.url}/console/images")
    expect(page.get_by_text("demo/main")).to_be_visible()


@pytest.mark.more
def test_where_the_browser_does_not_compute_the_form_of_a_key_says_so(served: Console, browser: Browser) -> None:
    context = browser.new_context()
    context.set_default_timeout(WAIT_MILLISECONDS)
    context.add_init_script("Object.defineProperty(globalThis.crypto, 'subtle', {value: undefined})")
    page = context.new_page()
    page.goto(f"{served.url}/console/login")
    expect(page.get_by_text("This browser does not compute here")).to_be_visible()
    expect(page.get_by_role("button", name="Sign in")).to_be_disabled()
    context.close()


@pytest.mark.more
def test_a_key_is_created_used_and_revoked_and_its_session_ends(served: Console, person: Person) -> None:
    operator = person(None)
    operator.get_by_role("link", name="Keys").click()
    operator.wait_for_url(re.compile("/console/keys"))
    operator.get_by_label("Account").select_option("demo")
    operator.wait_for_url("**Account=demo**")
    operator.get_by_text("Create a key").click()
    operator.get_by_label("Days").fill("30")
    operator.get_by_role("button", name="Look at the change").click()
    operator.get_by_role("button", name="Create the key").click()
    expect(operator.get_by_role("heading", name="The new key")).to_be_visible()
    public, private = (operator.locator("dd code").nth(number).inner_text() for number in (0, 1))
    tenant = person(NewKey(PublicKey(public), PrivateKey(private)))
    operator.get_by_role("link", name="I have kept it").click()
    operator.get_by_role("button", name=f"Revoke {public}").click()
    operator.get_by_label("To go on, type").fill(public)
    operator.get_by_role("button", name="Revoke the key").click()
    expect(operator.get_by_role("status")).to_have_text("The key was revoked, and its sessions have ended.")
    tenant.get_by_role("link", name="Images").click()
    tenant.wait_for_url("**/console/login?next=**")


@pytest.mark.more
def test_a_quota_is_set_and_seen(person: Person) -> None:
    page = person(None)
    page.get_by_role("link", name="Quotas").click()
    page.get_by_text("Set a quota").click()
    page.get_by_label("Project").fill("org-xyz")
    page.get_by_label("Quota in GiB").fill("2")
    page.get_by_role("button", name="Look at the change").click()
    expect(page.get_by_text("2147483648")).to_be_visible()
    page.get_by_role("button", name="Set the quota").click()
    expect(page.get_by_role("row", name="org-xyz")).to_contain_text("2 GiB")


def fill_form(page: Page, name: str) -> None:
    """What a person says about an image, after the file is chosen."""
    page.get_by_label("Trust these bytes").check()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("System family").fill("Debian")
    page.get_by_label("System", exact=True).fill("Debian 12 64bit")
    page.get_by_role("button", name="Tick all").click()
    page.get_by_role("button", name="Look at the change").click()
    page.get_by_role("button", name="Publish", exact=True).click()
    page.wait_for_url("**/console/jobs/**")


@pytest.mark.more
def test_a_file_is_published_with_a_reload_in_the_middle_and_no_part_is_sent_twice(
    served: Console, person: Person, gate: Gate, tmp_path: Path
) -> None:
    disk = write_disk(tmp_path / "web-1.raw", random.Random(1).randbytes(2 * PART))
    other = write_disk(tmp_path / "other.raw", random.Random(2).randbytes(2 * PART))
    page = person(TENANT)
    page.goto(f"{served.url}/console/publish")
    page.set_input_files("#publish-file", disk)
    gate.stored.clear()
    gate.open_for, gate.held = 1, 0
    fill_form(page, "web-1")
    wait_until(lambda: sum(gate.stored.values()) == 1 and gate.held > 0, page)
    page.reload()
    gate.open_for = 1 << 30
    expect(page.get_by_text("Choose web-1.raw again to go on")).to_be_visible()
    page.set_input_files("#upload input[type=file]", other)
    expect(page.get_by_role("alert")).to_contain_text("is another file")
    page.set_input_files("#upload input[type=file]", disk)
    expect(page.get_by_text("Done", exact=True)).to_be_visible()
    assert gate.stored == Counter(range(3))
    page.get_by_role("link", name="To the image").click()
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    expect(page.get_by_text(f"sha256:{digest}").first).to_be_visible()


@pytest.mark.more
def test_a_file_that_is_chosen_before_the_script_runs_is_sent(served: Console, person: Person, tmp_path: Path) -> None:
    disk = write_disk(tmp_path / "early.raw", random.Random(9).randbytes(1 << 20))
    page = person(TENANT)
    held: list[Route] = []
    page.route("**/publish.js", lambda route: held.append(route), times=1)

    page.goto(f"{served.url}/console/publish", wait_until="commit")
    page.set_input_files("#publish-file", disk)
    wait_until(lambda: bool(held), page)
    held[0].continue_()
    expect(page.locator("#publish-head")).to_contain_text("raw")
    fill_form(page, "early")

    expect(page.get_by_text("Done", exact=True)).to_be_visible()


@pytest.mark.more
def test_an_upload_that_was_paused_goes_on_to_its_end(served: Console, person: Person, gate: Gate, tmp_path: Path) -> None:
    disk = write_disk(tmp_path / "long.raw", 64 * random.Random(7).randbytes(1 << 20))
    page = person(TENANT)
    gate.stored.clear()
    gate.open_for = gate.held = 0

    page.goto(f"{served.url}/console/publish")
    page.set_input_files("#publish-file", disk)
    fill_form(page, "long")
    wait_until(lambda: gate.held == 3, page)
    page.get_by_role("button", name="Pause").click()
    gate.open_for = 1 << 30
    expect(page.locator("#upload progress")).to_have_js_property("value", 600)
    page.get_by_role("button", name="Go on").click()

    expect(page.get_by_text("Done", exact=True)).to_be_visible()
    assert gate.stored == Counter(range(5))


def begin_upload(served: Console, page: Page, disk: Path, name: str) -> None:
    page.goto(f"{served.url}/console/publish")
    page.set_input_files("#publish-file", disk)
    fill_form(page, name)


@pytest.mark.more
def test_when_a_part_is_refused_no_other_part_of_the_file_is_sent(
    served: Console, person: Person, gate: Gate, tmp_path: Path
) -> None:
    disk = write_disk(tmp_path / "four.raw", random.Random(4).randbytes(3 * PART))
    page = person(TENANT)
    sent: list[str] = []
    given_up: list[str] = []
    page.on("request", lambda request: sent.append(number_of(request.url)) if request.method == "PUT" else None)
    page.on("requestfailed", lambda request: given_up.append(number_of(request.url)))
    first: list[Route] = []
    page.route("**/uploads/*/0?*", lambda route: first.append(route), times=1)
    gate.stored.clear()
    gate.open_for = gate.held = 0

    begin_upload(served, page, disk, "four")
    wait_until(lambda: bool(first) and gate.held == 2, page)
    first[0].fulfill(status=400, json={"Detail": "refused by the test"})
    expect(page.get_by_role("alert")).to_have_text("refused by the test")
    wait_until(lambda: sorted(given_up) == ["1", "2"], page)
    gate.open_for = 1 << 30
    page.set_input_files("#upload input[type=file]", disk)

    expect(page.get_by_text("Done", exact=True)).to_be_visible()
    assert sorted(sent[:3]) == ["0", "1", "2"]
    assert sorted(sent[3:]) == ["0", "1", "2", "3"]
    assert gate.stored == Counter(range(4))


@pytest.mark.more
def test_a_file_that_changes_while_a_part_is_sent_again_ends_the_upload_in_words(
    served: Console, person: Person, tmp_path: Path
) -> None:
    disk = write_disk(tmp_path / "changing.raw", b"")
    page = person(TENANT)

    def break_off(route: Route) -> None:
        disk.write_bytes(b"another file")
        route.abort()

    page.route("**/uploads/*/0?*", break_off, times=1)
    begin_upload(served, page, disk, "changing")
    expect(page.get_by_role("alert")).to_contain_text("changing.raw cannot be read")


@pytest.mark.more
def test_a_gibibyte_survives_three_reloads_and_a_restart_of_the_server(browser: Browser, tmp_path: Path) -> None:
    disk = tmp_path / "large.raw"
    block = random.Random(3).randbytes(1 << 20)
    with disk.open("wb") as file:
        file.write(demo_disk.make_disk())
        for number in range((1 << 10) - 8):
            file.write(number.to_bytes(8, "little") + block[8:])
    port = str(free_port())
    phimage = Phimage(tmp_path / "home", PHIMAGE_PUBLISHERS="1", PHIMAGE_REQUIRE_SANDBOX="false", PHIMAGE_MIN_FREE_MB="0")
    server = Server(phimage, "serve", "--port", port, "--workers", "1")
    assert server.new_key is not None
    key = NewKey(PublicKey(server.new_key.public), PrivateKey(server.new_key.private))
    page = browser.new_page()
    page.set_default_timeout(1000 * LONG_SECONDS)
    stored: Counter[str] = Counter()
    page.on("response", lambda answer: stored.update([number_of(answer.url)] if answer.status == 201 else []))

    def wait_for_more(parts: int) -> None:
        before = sum(stored.values())
        wait_until(lambda: sum(stored.values()) >= before + parts, page, LONG_SECONDS)

    try:
        with Client(server.url, key.public, key.private) as client:
            client.call("ApplyCatalog", Catalog=catalog_file.starter())
            page.goto(str(client.call("CreateConsoleLogin").fields["LoginUrl"]))
        page.wait_for_url("**/console/")
        page.goto(f"{server.url}/console/publish")
        page.set_input_files("#publish-file", disk)
        fill_form(page, "large")
        for _ in range(3):
            wait_for_more(9)
            page.reload()
            expect(page.get_by_text("Choose large.raw again to go on")).to_be_visible(timeout=1000 * LONG_SECONDS)
            page.set_input_files("#upload input[type=file]", disk)
        wait_for_more(4)
        server.stop()
        expect(page.get_by_text("The server does not answer. Trying again")).to_be_visible()
        server = Server(phimage, "serve", "--port", port, "--workers", "1")
        expect(page.get_by_text("Done", exact=True)).to_be_visible(timeout=1000 * LONG_SECONDS)
        assert max(stored.values()) == 1
        page.get_by_role("link", name="To the image").click()
        with disk.open("rb") as whole:
            digest = hashlib.file_digest(whole, "sha256").hexdigest()
        expect(page.get_by_text(f"sha256:{digest}").first).to_be_visible()
    finally:
        page.close()
        server.stop()


def number_of(url: str) -> str:
    """The number of the part that an address is for."""
    return url.partition("?")[0].rpartition("/")[2]


@pytest.mark.more
def test_an_image_of_a_stopped_host_is_ordered_and_waits_for_its_agent(served: Console, person: Person) -> None:
    add_stopped_host(served.settings)
    page = person(TENANT)
    page.get_by_role("link", name="Hosts").click()
    page.get_by_role("link", name="web-7").click()
    page.get_by_text("Make an image of the host").click()
    page.get_by_label("Name of the new image").fill("golden")
    page.get_by_role("button", name="Look at the change").click()
    expect(page.get_by_text("golden")).to_be_visible()
    page.get_by_role("button", name="Make the image").click()
    expect(page.get_by_role("heading", name="An image is being made")).to_be_visible()
    expect(page.get_by_text("It waits for the agent.")).to_be_visible()
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("link", name="golden")).to_be_visible()


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[str]:
    """The address of a file that refers to another one, which no publisher accepts."""
    write_disk(tmp_path / "disk.raw", bytes(1 << 20))
    BAD["qcow2, backing file"][0](tmp_path)
    content = (tmp_path / "bad").read_bytes()

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/octet-stream")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/debian-12.qcow2"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.more
def test_a_url_is_published_and_ends_in_a_finding(served: Console, person: Person, file_server: str) -> None:
    page = person(None)
    page.get_by_role("link", name="Publish").click()
    page.wait_for_url(re.compile("/console/publish"))
    page.get_by_label("A URL", exact=True).check(force=True)
    page.get_by_label("http(s) URL that the server fetches").fill(file_server)
    page.get_by_label("http(s) URL that the server fetches").press("Tab")
    expect(page.get_by_label("Version", exact=True)).to_have_value("12")
    fill_form(page, "Debian 12")
    expect(page.get_by_text("It was not published")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("qcow2.backing-file")
