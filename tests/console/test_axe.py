"""Accessibility: axe finds nothing on any page, in either theme and either language."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Route, expect

from tests.console.conftest import OpenPage
from tests.console.pages import PAGES, LookedAt

VARIANTS = [
    pytest.param(language, theme, marks=[] if (language, theme) == ("en", "light") else [pytest.mark.more])
    for language in ("en", "zh")
    for theme in ("light", "dark")
]


def hold(route: Route) -> None:
    """Never answer what htmx asks for."""
    if "hx-request" not in route.request.headers:
        route.fallback()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize(("language", "theme"), VARIANTS)
def test_axe_finds_nothing(look_at: OpenPage, page: LookedAt, language: str, theme: str) -> None:
    opened = look_at(page.path, who=page.who, language=language, theme=theme)
    opened.route("**/*", hold)  # what is read again would take the place of what axe looks at
    expect(opened.locator(".htmx-request")).to_have_count(0)

    found = Axe().run(opened)

    opened.unroute("**/*", hold)

    assert found.violations_count == 0, found.generate_report()
