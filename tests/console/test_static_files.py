"""The files that pages load: what they are, and that a browser may keep them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from phimage.console import static_files as module
from phimage.console.static_files import static_address
from tests.console.site import ConsoleSite

FOLDER = Path(module.__file__).parent
STATIC = FOLDER / "static"
HTMX = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
"""The SHA-256 of `dist/htmx.min.js` of htmx.org 2.0.11."""
MAX_STYLE_BYTES = 20_000


def test_htmx_is_the_published_file() -> None:
    content = (STATIC / "htmx.min.js").read_bytes()

    assert hashlib.sha256(content).hexdigest() == HTMX
    assert b'version:"2.0.11"' in content


def test_the_style_sheet_stays_small() -> None:
    assert len((STATIC / "console.css").read_bytes()) <= MAX_STYLE_BYTES


def test_every_icon_that_is_used_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([a-z0-9-]+)"', (STATIC / "icons.svg").read_text()))
    sources = "".join(path.read_text() for path in (FOLDER / "templates").glob("*.html"))
    calls = re.findall(r"icon\(([^)]*)\)", sources)

    used = {name for call in calls for name in re.findall(r"'([a-z0-9-]+)'", call) if name not in ("ascending", "descending")}
    assert used - sprite == set()
    scripts = "".join(path.read_text() for path in STATIC.glob("*.js") if path.name != "htmx.min.js")
    assert {name for name in sprite - used if f"#{name}" not in scripts} == set(), "an icon that nobody shows is left out"


def test_every_style_is_used() -> None:
    style = (STATIC / "console.css").read_text()
    sources = "".join(path.read_text() for path in [*(FOLDER / "templates").glob("*.html"), FOLDER / "rendering.py"])
    sources += "".join(path.read_text() for path in STATIC.glob("*.js") if path.name != "htmx.min.js")

    selectors = re.sub(r"{[^{}]*}", "{}", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL))
    styled = set(re.findall(r"\.([a-z][a-z-]*)", selectors)) - {"htmx-request"}
    composed = set(re.findall(r"([a-z]+-){{", sources))  # such as fill-{{ name }}
    unused = {name for name in styled if not re.search(rf"\b{name}\b", sources)}
    assert {name for name in unused if not name.startswith(tuple(composed))} == set()


def test_an_exact_address_may_be_kept_for_ever_and_another_must_be_asked_again(site: ConsoleSite) -> None:
    exact = site.get(static_address("console.css"))
    other = site.get("/console/static/0/console.css")

    assert exact.status == other.status == 200
    assert "immutable" in exact.headers["cache-control"]
    assert other.headers["cache-control"] == "no-cache"
    assert site.get("/console/static/0/../app.py").status == 404
