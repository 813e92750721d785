"""Pictures of every page of the console: `make console-screens` writes them for people to look at.

`python -m tests.console.screens FOLDER` makes every page in both languages, both themes and three widths. `--kept` writes the
few that docs/console.md shows, as small files.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import click
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from phimage.console.session import ConsoleSession
from tests.console import catalogue
from tests.console.conftest import CHROMIUM, OPERATOR, TENANT
from tests.console.pages import PAGES, LookedAt
from tests.console.site import COOKIE, ConsoleSite, serving

SIZES = {360: 780, 1280: 800, 2560: 1440}
LANGUAGES = {"en": "en-GB", "zh": "zh-CN"}
KEPT = (
    ("images", "en", "light", 1280),
    ("images", "zh", "dark", 1280),
    ("matrix", "en", "light", 1280),
    ("why-not", "zh", "light", 1280),
    ("revision", "en", "dark", 1280),
    ("store", "en", "light", 1280),
    ("image-of-tenant", "zh", "light", 360),
)
"""The pictures in the documentation: page, language, theme and width."""
COLORS = 256
"""Of a kept picture."""
KEPT_FOLDER = Path(__file__).parents[2] / "docs" / "pictures" / "console"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()) / "console-screens")
@click.option("--kept", is_flag=True, help="Write the pictures of the documentation.")
@click.option("--page", "only", help="Make this page alone.")
def main(folder: Path, *, kept: bool, only: str | None) -> None:
    """Make pictures of the console."""
    data = Path(tempfile.gettempdir()) / "phimage-data"  # a page shows it, so it has the same name everywhere
    shutil.rmtree(data, ignore_errors=True)
    with sync_playwright() as playwright:
        settings, operator = catalogue.fill(data, inert=not kept)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with serving(settings) as site:
            sessions = site.sessions.by_cookie
            sessions[OPERATOR] = ConsoleSession(operator.public, catalogue.OPERATOR_ACCOUNT, "main", True, "token")
            sessions[TENANT] = ConsoleSession(catalogue.DEMO_KEY.public, catalogue.DEMO_ACCOUNT, "main", False, "token")
            if kept:
                _keep(site, browser)
            else:
                _make_all(site, browser, folder, only)
        browser.close()
    shutil.rmtree(data)


def _make_all(site: ConsoleSite, browser: Browser, folder: Path, only: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        if only in (None, page.name):
            for language in LANGUAGES:
                for theme in ("light", "dark"):
                    for width in SIZES:
                        path = folder / f"{page.name}-{language}-{theme}-{width}.png"
                        path.write_bytes(_picture(site, browser, page, language, theme, width))
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures are in {folder}\n")


def _keep(site: ConsoleSite, browser: Browser) -> None:
    KEPT_FOLDER.mkdir(parents=True, exist_ok=True)
    pages = {page.name: page for page in PAGES}
    for name, language, theme, width in KEPT:
        picture = _picture(site, browser, pages[name], language, theme, width)
        small = (
            Image.open(BytesIO(picture))
            .convert("RGB")
            .quantize(COLORS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        )
        small.save(KEPT_FOLDER / f"{name}-{language}-{theme}-{width}.png", optimize=True)


def _picture(site: ConsoleSite, browser: Browser, page: LookedAt, language: str, theme: str, width: int) -> bytes:
    """A page in a window, as PNG."""
    context = browser.new_context(
        viewport={"width": width, "height": SIZES[width]},
        color_scheme="dark" if theme == "dark" else "light",
        locale=LANGUAGES[language],
    )
    context.add_cookies([{"name": COOKIE, "value": page.who, "url": site.url}])
    opened = context.new_page()
    opened.goto(site.url + page.path)
    opened.wait_for_load_state("load")
    picture: bytes = opened.screenshot()
    context.close()
    return picture


if __name__ == "__main__":
    main()
