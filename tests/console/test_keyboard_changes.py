"""What people change in the console without a mouse, in Chromium."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from phimage.catalog.accounts import NewKey
from phimage.model.account import PrivateKey
from phimage.model.ids import PublicKey
from tests.console.keyboard import Keyboard
from tests.console.test_changing_flows import TENANT, Person, gate, person, served
from tests.console.visitor import Console, write_disk

pytestmark = pytest.mark.more
__all__ = ["gate", "person", "served"]
"""The fixtures of a console that can be changed."""


def test_a_person_signs_in_by_a_key_with_the_keyboard(served: Console, browser: Browser) -> None:
    page = browser.new_page(locale="en-GB")
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
    keys.choose(page.get_by_label("Account"), "d")
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


def test_a_file_is_published_with_the_keyboard(served: Console, person: Person, tmp_path: Path) -> None:
    disk = write_disk(tmp_path / "typed.raw", random.Random(4).randbytes(1 << 20))
    page = person(TENANT)
    keys = Keyboard(page)

    keys.press(page.get_by_role("link", name="Publish"))
    with page.expect_file_chooser() as chooser:
        keys.press(page.locator("#publish-file"))
    chooser.value.set_files(disk)
    keys.press(page.locator("input[name=_verify]").first, "ArrowUp")
    expect(page.get_by_label("Trust these bytes")).to_be_checked()
    keys.type(page.get_by_label("Name", exact=True), "typed")
    keys.type(page.get_by_label("System family"), "Debian")
    keys.type(page.get_by_label("System", exact=True), "Debian 12 64bit")
    keys.press(page.get_by_role("button", name="Tick all"))
    keys.press(page.get_by_role("button", name="Look at the change"))
    keys.press(page.get_by_role("button", name="Publish", exact=True))

    page.wait_for_url(re.compile("/console/jobs/"))
    expect(page.get_by_text("Done", exact=True)).to_be_visible()
