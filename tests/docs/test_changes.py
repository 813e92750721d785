"""How many files a plausible change touches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phimage.errors import REQUEST_ERRORS, RequestError
from phimage.reference.records import errors_page

SOURCE = Path(__file__).parents[2] / "src" / "phimage"
ROOMS = ("model", "catalog", "catalog_file", "gateway", "actions")


def mentions(name: str) -> set[str]:
    """The files of the rooms that mention a name, the first step of the migrations apart."""
    files = (path for room in ROOMS for path in (SOURCE / room).rglob("*.py"))
    named = {str(path.relative_to(SOURCE)) for path in files if re.search(rf"\b{name}\b", path.read_text("utf-8"))}
    return named - {"catalog/migrations/versions/0001_first.py"}


def test_a_column_of_images_is_declared_once_for_each_format_and_copied_nowhere() -> None:
    # With its migration these are seven, of which one shows the hosts that run an image. A column that the list of UCloud's
    # protocol does not have needs one less.
    assert mentions("os_name") == {
        "model/image.py",
        "catalog/tables.py",
        "catalog_file/document.py",
        "actions/publish.py",
        "actions/images.py",
        "actions/phosts.py",
    }


@pytest.mark.parametrize("error", REQUEST_ERRORS, ids=lambda error: error.__name__)
def test_an_error_is_named_once_where_it_is_defined_and_its_page_follows(error: type[RequestError]) -> None:
    assert (SOURCE / "errors.py").read_text("utf-8").count(error.__name__) == 1
    assert f"| {error.ret_code} | `{error.form.format('...')}` | {error.meaning} |" in errors_page()
