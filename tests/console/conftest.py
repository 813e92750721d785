"""A served console with a filled catalogue, and pages of it in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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

    def clear(self) -> None:
        """Begin anew."""
        self.complaints.clear()
        self.addresses.clear()

    def check(self, site: ConsoleSite) -> None:
        """Assert that there was no complaint, and no address but those of the site."""
        # A status is the test's matter.
        assert [text for text in self.complaints if "Failed to load resource" not in text] == []
        assert [address for address in self.addresses if not address.startswith((site.url, "blob:", "data:"))] == []


OpenPage = Callable[..., Page]
"""Opens a page in a browser of its own: `open_page("/console/images", who=TENANT, language="en", theme="light")`."""


@pytest.fixture
def watched() -> Watched:
    """What the pages of a test did."""
    return Watched()


class Window(NamedTuple):
    """Whose browser it is, and how it is set."""

    who: str = TENANT
    language: str = "en"
    theme: str = "light"
    width: int = 1280
    height: int = 800
    script: bool = True


def begin(site: ConsoleSite, browser: Browser, watched: Watched, window: Window) -> BrowserContext:
    """A browser of somebody who is signed in, with one empty page."""
    context = browser.new_context(
        viewport={"width": window.width, "height": window.height},
        color_scheme="dark" if window.theme == "dark" else "light",
        locale={"en": "en-GB", "zh": "zh-CN"}[window.language],
        timezone_id="Asia/Shanghai",
        java_script_enabled=window.script,
    )
    context.set_default_timeout(WAIT_MILLISECONDS)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.add_cookies([{"name": COOKIE, "value": window.who, "url": site.url}])
    page = context.new_page()
    page.on("console", lambda message: watched.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", lambda request: watched.addresses.append(request.url))
    return context


@pytest.fixture
def open_page(site: ConsoleSite, browser: Browser, watched: Watched) -> Iterator[OpenPage]:
    """Opens pages, and closes them. A page that the policy of the console stopped from something fails the test."""
    contexts: list[BrowserContext] = []

    def open_it(path: str, **about: Any) -> Page:
        contexts.append(begin(site, browser, watched, Window(**about)))
        page = contexts[-1].pages[0]
        page.goto(site.url + path)
        return page

    yield open_it
    for context in contexts:
        context.close()
    watched.check(site)


Kept = dict[Window, tuple[BrowserContext, Watched]]


@pytest.fixture(scope="module")
def kept_browsers(browser: Browser) -> Iterator[Kept]:  # `browser`, so that it ends after them
    """The browsers of a module."""
    kept: Kept = {}
    yield kept
    for context, _ in kept.values():
        context.close()


@pytest.fixture
def look_at(site: ConsoleSite, browser: Browser, kept_browsers: Kept) -> Iterator[OpenPage]:
    """Opens a page as `open_page` does, but one after the other in one browser: a new one takes longer than a page.

    For tests that only look.
    """
    used: list[Watched] = []

    def look(path: str, **about: Any) -> Page:
        window = Window(**about)
        if window not in kept_browsers:
            watched = Watched()
            kept_browsers[window] = begin(site, browser, watched, window), watched
        context, watched = kept_browsers[window]
        used.append(watched)
        page = context.pages[0]
        page.goto("about:blank")
        watched.clear()  # of what the page before this one had not ended
        page.goto(site.url + path)
        return page

    yield look
    for watched in used:
        watched.check(site)
