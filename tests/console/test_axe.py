"""Accessibility: axe finds nothing on any page, in either theme and either language."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.console.conftest import OpenPage
from tests.console.pages import PAGES, LookedAt

VARIANTS = [
    pytest.param(language, theme, marks=[] if (language, theme) == ("en", "light") else [pytest.mark.more])
    for language in ("en", "zh")
    for theme in ("light", "dark")
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize(("language", "theme"), VARIANTS)
def test_axe_finds_nothing(look_at: OpenPage, page: LookedAt, language: str, theme: str) -> None:
    opened = look_at(page.path, who=page.who, language=language, theme=theme)

    found = Axe().run(opened)

    assert found.violations_count == 0, found.generate_report()
