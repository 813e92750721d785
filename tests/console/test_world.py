"""The console of a world of `phimage ci`, in Chromium: its scripts stay below the prefix of the world too."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from phimage.pytest import PhimageWorld
from tests.ci.conftest import server_of
from tests.console.conftest import WAIT_MILLISECONDS
from tests.console.test_changing_flows import fill_form
from tests.console.visitor import write_disk
from tests.e2e.process import Phimage, Server

pytestmark = pytest.mark.more


def test_a_world_is_used_in_a_browser_and_no_request_leaves_it(browser: Browser, tmp_path: Path) -> None:
    disk = write_disk(tmp_path / "small.raw", random.Random(8).randbytes(1 << 20))
    page = browser.new_page(locale="en-GB")
    page.set_default_timeout(WAIT_MILLISECONDS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    with Server(Phimage(tmp_path / "ci"), "ci") as running:
        world = PhimageWorld(server_of(running), "t1")
        with world.operator as operator:
            page.goto(str(operator.call("CreateConsoleLogin").fields["LoginUrl"]))
        page.wait_for_url(f"{world.url}/console/")
        page.get_by_role("link", name="Images").click()
        page.wait_for_url(re.compile("/console/images"))
        page.get_by_label("Machine type").select_option("DB-2")
        page.wait_for_url(re.compile("MachineType=DB-2"))
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url(f"{world.url}/console/login")
        page.get_by_label("Public key").fill(world.keys.public)
        page.get_by_label("Private key").fill(world.keys.private)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{world.url}/console/")
        page.get_by_role("link", name="Publish").click()
        page.set_input_files("#publish-file", disk)
        fill_form(page, "small")
        expect(page.get_by_text("Done", exact=True)).to_be_visible()
        page.get_by_role("link", name="To the image").click()
        expect(page.get_by_role("heading", name="small")).to_be_visible()
        page.close()

    assert {url for url in asked if not url.startswith(f"{world.url}/")} == set()
    assert any(url.startswith(f"{world.url}/uploads/") for url in asked)
