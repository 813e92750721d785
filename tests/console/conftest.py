"""A served console with a filled catalogue, and pages of it in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from phimage.console.session import ConsoleSession
from tests.console import catalogue
from tests.console.site import COOKIE, ConsoleSite, serving

CHROMIUM = "/usr/bin/chromium"
WAIT_MILLISECONDS = 60_000
"""A loaded machine is no failure."""

expect.set_options(timeout=WAIT_MILLISECONDS)

OPERATOR, TENANT = "operator", "demo"
"""The people of the tests, by their accounts."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleSite]:
    """The console. The tests that share it change nothing."""
    settings, operator = catalogue.fill(tmp_path_factory.mktemp("console") / "data")
    with serving(settings) as found:
        sessions = found.sessions.by_cookie
        sessions[OPERATOR] = ConsoleSession(operator.public, catalogue.OPERATOR_ACCOUNT, "main", True, "token-of-operator")
        sessions[TENANT] = ConsoleSession(catalogue.DEMO_KEY.public, catalogue.DEMO_ACCOUNT, "main", False, "token-of-demo")
        found.keys = {OPERATOR: operator, TENANT: catalogue.DEMO_KEY}
        yield found


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. It ends with the tests of the console: Playwright keeps an event loop running in the thread."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        # Tests run as root in containers, where Chromium's own sandbox cannot be made.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Watched:
    """What a browser complained about, and the addresses that it asked for."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.addresses: list[str] = []


OpenPage = Callable[..., Page]
"""Opens a page in a browser of its own: `open_page("/console/images", who=TENANT, language="en", theme="light")`."""


@pytest.fixture
def watched() -> Watched:
    """What the pages of a test did."""
    return Watched()


@pytest.fixture
def open_page(site: ConsoleSite, browser: Browser, watched: Watched) -> Iterator[OpenPage]:
    """Opens pages, and closes them. A page that the policy of the console stopped from something fails the test."""
    contexts: list[BrowserContext] = []

    def open_it(
        path: str,
        *,
        who: str = TENANT,
        language: str = "en",
        theme: str = "light",
        width: int = 1280,
        height: int = 800,
        script: bool = True,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if theme == "dark" else "light",
            locale={"en": "en-GB", "zh": "zh-CN"}[language],
            timezone_id="Asia/Shanghai",
            java_script_enabled=script,
        )
        context.set_default_timeout(WAIT_MILLISECONDS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.add_cookies([{"name": COOKIE, "value": who, "url": site.url}])
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: watched.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("request", lambda request: watched.addresses.append(request.url))
        page.goto(site.url + path)
        return page

    yield open_it
    for context in contexts:
        context.close()
    complaints = [text for text in watched.complaints if "Failed to load resource" not in text]  # a status is the test's matter
    assert complaints == []
    assert [address for address in watched.addresses if not address.startswith((site.url, "blob:", "data:"))] == []
