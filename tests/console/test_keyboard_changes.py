"""What people change in the console without a mouse, in Chromium."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from phimage.catalog.accounts import NewKey
from phimage.chunks.uploads import PART
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey
from tests.console.conftest import WAIT_MILLISECONDS
from tests.console.host_rows import add_stopped_host
from tests.console.keyboard import Keyboard
from tests.console.test_changing_flows import TENANT, Person, file_server, gate, person, served
from tests.console.visitor import Console, Gate, wait_until, write_disk

pytestmark = pytest.mark.more
__all__ = ["file_server", "gate", "person", "served"]
"""The fixtures of a console that can be changed."""


def test_a_person_signs_in_by_a_key_with_the_keyboard(served: Console, browser: Browser) -> None:
    page = browser.new_page(locale="en-GB")
    page.set_default_timeout(WAIT_MILLISECONDS)
    page.goto(f"{served.url}/console/images?State=Available")
    keys = Keyboard(page)

    keys.type(page.get_by_label("Public key"), TENANT.public)
    keys.type(page.get_by_label("Private key"), f"{TENANT.private.reveal()}\n")
    page.wait_for_url("**/console/images?State=Available")
    keys.press(page.get_by_role("button", name="Sign out"))

    page.wait_for_url("**/console/login")
    page.close()


def test_a_key_is_created_and_revoked_with_the_keyboard(person: Person) -> None:
    page = person(None)
    keys = Keyboard(page)

    keys.press(page.get_by_role("link", name="Keys"))
    page.wait_for_url(re.compile("/console/keys"))
    keys.choose(page.get_by_label("Account"), "demo")
    page.wait_for_url("**Account=demo**")
    keys.press(page.locator("summary", has_text="Create a key"))
    keys.type(page.get_by_label("Days"), "30\n")
    keys.press(page.get_by_role("button", name="Create the key"))
    expect(page.get_by_role("heading", name="The new key")).to_be_visible()
    public, private = (page.locator("dd code").nth(number).inner_text() for number in (0, 1))
    tenant = person(NewKey(PublicKey(public), PrivateKey(private)))
    keys.press(page.get_by_role("link", name="I have kept it"))
    keys.press(page.get_by_role("button", name=f"Revoke {public}"))
    keys.type(page.get_by_label("To go on, type"), f"{public}\n")

    expect(page.get_by_role("status")).to_have_text("The key was revoked, and its sessions have ended.")
    Keyboard(tenant).press(tenant.get_by_role("link", name="Images"))
    tenant.wait_for_url("**/console/login?next=**")


def test_a_quota_is_set_with_the_keyboard(person: Person) -> None:
    page = person(None)
    keys = Keyboard(page)

    keys.press(page.get_by_role("link", name="Quotas"))
    keys.press(page.locator("summary", has_text="Set a quota"))
    keys.type(page.get_by_label("Project"), "org-xyz")
    keys.type(page.get_by_label("Quota in GiB"), "3\n")
    expect(page.get_by_text("3221225472")).to_be_visible()
    keys.press(page.get_by_role("button", name="Set the quota"))

    expect(page.get_by_role("row", name="org-xyz")).to_contain_text("3 GiB")


def choose_file(page: Page, control: Locator, file: Path) -> None:
    """Open the dialogue of a file field by its key. What the dialogue does is the matter of the browser."""
    with page.expect_file_chooser() as chooser:
        Keyboard(page).press(control)
    chooser.value.set_files(file)


def choose_disk(page: Page, file: Path) -> None:
    """Choose the file of a new image, and wait until the form is filled with what the file says."""
    choose_file(page, page.locator("#publish-file"), file)
    expect(page.locator("#publish-head")).to_contain_text("raw")


def fill_form(page: Page, name: str) -> None:
    """What a person types about an image, after the file is chosen."""
    keys = Keyboard(page)
    keys.press(page.locator("input[name=_verify]").first, "ArrowUp")
    expect(page.get_by_label("Trust these bytes")).to_be_checked()
    keys.type(page.get_by_label("Name", exact=True), name)
    keys.type(page.get_by_label("System family"), "Debian")
    keys.type(page.get_by_label("System", exact=True), "Debian 12 64bit")
    keys.press(page.get_by_role("button", name="Tick all"))
    keys.press(page.get_by_role("button", name="Look at the change"))
    keys.press(page.get_by_role("button", name="Publish", exact=True))
    page.wait_for_url(re.compile("/console/jobs/"))


def test_a_file_is_published_with_the_keyboard(person: Person, tmp_path: Path) -> None:
    disk = write_disk(tmp_path / "typed.raw", random.Random(4).randbytes(1 << 20))
    page = person(TENANT)

    Keyboard(page).press(page.get_by_role("link", name="Publish"))
    choose_disk(page, disk)
    fill_form(page, "typed")

    expect(page.get_by_text("Done", exact=True)).to_be_visible()


def test_a_file_is_published_with_the_keyboard_and_a_reload_in_the_middle(person: Person, gate: Gate, tmp_path: Path) -> None:
    disk = write_disk(tmp_path / "web-2.raw", random.Random(5).randbytes(2 * PART))
    other = write_disk(tmp_path / "other.raw", random.Random(6).randbytes(2 * PART))
    page = person(TENANT)
    keys = Keyboard(page)
    gate.stored.clear()
    gate.held = 0

    keys.press(page.get_by_role("link", name="Publish"))
    choose_disk(page, disk)
    gate.open_for = 1
    fill_form(page, "web-2")
    pause = page.locator(".upload-pause")
    keys.press(pause)
    expect(page.get_by_text("Paused")).to_be_visible()
    keys.press(pause)
    wait_until(lambda: sum(gate.stored.values()) == 1 and gate.held > 0, page)
    page.reload()
    expect(page.get_by_text("Choose web-2.raw again to go on")).to_be_visible()
    gate.open_for = 1 << 30
    again = page.locator("#upload input[type=file]")
    choose_file(page, again, other)
    expect(page.get_by_role("alert")).to_contain_text("is another file")
    expect(again).to_be_focused()
    choose_file(page, again, disk)
    expect(page.get_by_text("Done", exact=True)).to_be_visible()
    assert gate.stored == Counter(range(3))
    keys.press(page.get_by_role("link", name="To the image"))

    expect(page.get_by_role("heading", name="web-2")).to_be_visible()


def test_a_url_is_published_with_the_keyboard_and_ends_in_a_finding(person: Person, file_server: str) -> None:
    page = person(None)
    keys = Keyboard(page)

    keys.press(page.get_by_role("link", name="Publish"))
    page.wait_for_url(re.compile("/console/publish"))
    keys.press(page.locator("input[name=_from]").first, "ArrowRight")
    expect(page.get_by_label("A URL", exact=True)).to_be_checked()
    keys.type(page.get_by_label("http(s) URL that the server fetches"), file_server)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Version", exact=True)).to_have_value("12")
    fill_form(page, "Debian 12")

    expect(page.get_by_text("It was not published")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("qcow2.backing-file")


def test_an_image_of_a_host_is_ordered_with_the_keyboard(served: Console, person: Person) -> None:
    add_stopped_host(served.settings)
    page = person(TENANT)
    keys = Keyboard(page)

    keys.press(page.get_by_role("link", name="Hosts"))
    page.wait_for_url("**/console/hosts")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    keys.press(page.locator("summary", has_text="Make an image of the host"))
    keys.type(page.get_by_label("Name of the new image"), "golden\n")
    expect(page.get_by_text("golden")).to_be_visible()
    keys.press(page.get_by_role("button", name="Make the image"))
    expect(page.get_by_role("heading", name="An image is being made")).to_be_visible()
    expect(page.get_by_text("It waits for the agent.")).to_be_visible()
    keys.press(page.get_by_role("link", name="Jobs"))

    expect(page.get_by_role("link", name="golden")).to_be_visible()
