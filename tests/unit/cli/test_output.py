"""What commands print for people has no control character of another's text, and JSON has them escaped."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from phimage import cli
from phimage.cli.output import echo, marks_for, note, print_csv, print_json, print_table, printable
from tests import commands

HOSTILE = "a\x1b[31m\x9b31m\x7f\u202e\u2028b"
SHOWN = r"a\x1b[31m\x9b31m\x7f\u202e\u2028b"
UNESCAPED = re.compile("[\x1b\x7f-\x9f\u2028\u202e]")

VERBATIM = {"catalog.py": 3, "completion.py": 1, "output.py": 4}
"""Files that print with click itself, and how often: scripts, catalogue files, which are stored byte for byte, and `output`."""


def test_lines_tables_and_notes_have_them_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"{HOSTILE}\n\tsecond line")
    print_table(("NAME",), [(HOSTILE,), ("two\nlines",)], empty="none")
    note(HOSTILE)

    shown = capsys.readouterr()
    assert shown.out.splitlines()[:2] == [SHOWN, "\tsecond line"]
    assert [line.rstrip() for line in shown.out.splitlines()[2:]] == ["NAME", SHOWN, "two", "lines"]
    assert shown.err == f"{SHOWN}\n"
    assert printable("a\nb\tc") == r"a\x0ab\x09c"


@pytest.mark.parametrize("indented", [True, False])
def test_json_is_the_same_json_with_escapes(capsys: pytest.CaptureFixture[str], indented: bool) -> None:
    print_json({"Name": HOSTILE, "\u202e": ["镜像"]}, indented=indented)

    shown = capsys.readouterr().out
    assert json.loads(shown) == {"Name": HOSTILE, "\u202e": ["镜像"]}
    assert not UNESCAPED.search(shown)
    assert "镜像" in shown
    assert (shown.count("\n") > 1) == indented


def test_csv_is_quoted_and_no_cell_of_it_is_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    cells = ["a,b", 'say "x"', "two\nlines", "=1+1", "-1", "＝1", HOSTILE, ""]
    print_csv(["name"], [[cell] for cell in cells])

    shown = capsys.readouterr().out
    assert shown == "\r\n".join(["name", '"a,b"', '"say ""x"""', r"two\x0alines", "'=1+1", "'-1", "'＝1", SHOWN, '""', ""])
    assert [row for [row] in csv.reader(shown.splitlines())][1:3] == ["a,b", 'say "x"']


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf_8", "cp65001", "utf-8-sig", "utf-16"])
def test_an_output_of_unicode_has_marks_outside_ascii(encoding: str) -> None:
    assert marks_for(encoding, "…", "...") == "…"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "cp936", "gb18030", "big5", "euc-jp"])
def test_an_output_of_another_encoding_has_marks_of_ascii_also_if_it_could_encode_the_others(encoding: str) -> None:
    assert marks_for(encoding, "…", "...") == "..."


def test_errors_have_them_escaped(tmp_path: Path) -> None:
    for arguments in (("image", HOSTILE), ("catalog", "plan", str(tmp_path / HOSTILE)), (f"--{HOSTILE}",)):
        result = commands.run(*arguments)
        assert result.code > 0
        assert not UNESCAPED.search(result.out + result.err), arguments


def test_commands_print_with_the_functions_that_escape() -> None:
    found = {
        file.name: count
        for file in Path(cli.__file__).parent.glob("*.py")
        if (count := len(re.findall(r"\bclick\.s?echo\(", file.read_text("utf-8"))))
    }
    assert found == VERBATIM
