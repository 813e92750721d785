"""The page of screens shows every command whole, within its width, and the README's picture asks nobody for anything."""

from __future__ import annotations

import re

from rich.cells import cell_len

from tests.docs.screens import COMMANDS, PAGE, PICTURE, WIDTHS


def test_every_screen_is_there_fits_its_width_and_ends_well() -> None:
    page = PAGE.read_text("utf-8")
    found = re.findall(r"^(\d+) columns:\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    assert [int(width) for width, _ in found] == [*WIDTHS] * len(COMMANDS)
    assert re.findall(r"^```sh\n(.+)\n```$", page, re.MULTILINE) == list(COMMANDS.values())
    for width, text in found:
        assert text.strip()
        assert max(map(cell_len, text.splitlines())) <= int(width)
        assert not re.search(r"Usage:|Error|Traceback", text)


def test_the_picture_refers_to_nothing_outside() -> None:
    picture = PICTURE.read_text("utf-8")

    assert re.findall(r"https?://[^\"\s<)]+", picture) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in picture
