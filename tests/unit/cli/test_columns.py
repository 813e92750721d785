"""Columns that fit: by priority, cut at the right place also in wide characters, and never folded."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from phimage.cli.columns import (
    ASCII,
    COLUMNS,
    PRIORITY,
    TABLE,
    UNICODE,
    WIDE,
    ListMarks,
    cells_of,
    fit,
    lines_of,
    padded,
)
from phimage.cli.output import marks_for


def row(name: str, **more: Any) -> dict[str, Any]:
    image = {
        "ImageId": "pimg-cs-xev4rz2k",
        "ImageName": name,
        "OsName": "CentOS 7.9 64位",
        "OsType": "CentOS",
        "Version": "v1.0",
    }
    about = {"ImageType": "Base", "CreateTime": "1700000000", "State": "Unavailable", "ImageSize": 20, "ImageDescription": ""}
    return {**image, **about, "Support": ["DB-2", "Base-SSD-V5", "DB-3"], "Disk": None, **more}


ROWS = [
    row("镜像" * 30, Disk={"Size": 1 << 30}),
    row("a\x1b[31m\nb"),
    row("CentOS 7.9 64位 高内核 " * 4, Labels={"team": "storage", "spot": ""}, Deprecated=True, DeprecationTime=1_700_000_000),
]


def table(width: int, encoding: str = "utf-8") -> tuple[list[str], list[str]]:
    marks = marks_for(encoding, UNICODE, ASCII)
    cells = {column.name: cells_of(column, ROWS, marks, encoding, short=True) for column in TABLE}
    fitted = fit(TABLE, PRIORITY, cells, width)
    return lines_of(fitted, cells, marks), [column.name for column in fitted.dropped]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "gbk"])
@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (16, ["bytes", "type", "state", "created", "name", "version", "size", "support"]),
        (60, ["type", "created", "version", "support"]),
        (80, ["version", "support"]),
        (120, []),
    ],
)
def test_the_columns_that_fit_are_shown_in_a_line_an_image(width: int, dropped: list[str], encoding: str) -> None:
    lines, names = table(width, encoding)

    assert names == dropped
    assert len(lines) == len(ROWS) + 1
    assert max(map(cell_len, lines)) <= width
    for line in lines:
        assert line.encode(encoding).decode(encoding).isprintable()
    if width > 16:
        assert sum(("…" if encoding == "utf-8" else "...") in line for line in lines) >= 2


def test_an_id_is_never_cut() -> None:
    assert table(5)[0][1:] == ["pimg-cs-xev4rz2k"] * 3


@pytest.mark.parametrize(
    ("text", "width", "marks", "shown"),
    [
        ("镜像镜像", 8, UNICODE, "镜像镜像"),
        ("镜像镜像", 7, UNICODE, "镜像镜…"),
        ("镜像镜像", 6, UNICODE, "镜像… "),
        ("镜像镜像", 6, ASCII, "镜... "),
        ("abc", 5, UNICODE, "abc  "),
        ("abcdef", 2, ASCII, ".."),
    ],
)
def test_a_text_is_cut_to_its_width(text: str, width: int, marks: ListMarks, shown: str) -> None:
    assert padded(text, width, marks) == shown
    assert cell_len(shown) == width


def test_a_column_has_the_whole_value_and_a_table_a_short_one() -> None:
    def texts(name: str) -> list[str]:
        return [COLUMNS[name].text(one) for one in ROWS]

    assert texts("created")[0] == "2023-11-14T22:13:20Z"
    assert cells_of(COLUMNS["created"], ROWS, UNICODE, "utf-8", short=True)[0] == "2023-11-14"
    assert texts("support")[0] == "DB-2, Base-SSD-V5, DB-3"
    assert texts("labels") == ["", "", "team=storage, spot"]
    assert texts("deprecated") == ["", "", "since 2023-11-14"]
    assert texts("bytes") == ["yes", "no", "no"]
    assert texts("disk") == ["1073741824", "", ""]
    assert set(PRIORITY) == set(TABLE) <= set(WIDE) <= set(COLUMNS.values())
