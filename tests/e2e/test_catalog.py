"""The catalogue as code, at the command line: starter, plan, apply, log, export, and the past exactly as it was."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Installation, on_sqlite, starter
from tests.e2e.process import Phimage, Server

PLACE = ("--region", "cn-bj2", "--zone", "cn-bj2-02")

NEW_IMAGE = """
  - id: pimg-db-brandnew
    name: Debian 14.0 64位
    family: debian-14
    os_type: Debian
    os_name: Debian 14 64位
    version: "14.0"
    size: 20
    created: "2026-11-01T00:00:00Z"
    zones: [cn-bj2-02]
    support: {Base-SSD-V5: [25G]}
"""


def exported(installation: Installation, revision: int | None = None) -> str:
    """What `catalog export --rev` prints, without a process for it."""
    with installation.client() as now, now if revision is None else now.at(revision) as client:
        text: str = client.call("ExportCatalog").fields["Catalog"]
        return text


def listed(cli: Phimage, *options: str) -> Any:
    return cli.json("image", "ls", *PLACE, "--limit", "1000", *options)


def edited(text: str) -> str:
    """The catalogue with an image more, an image less, and three fields changed."""
    before, dropped, after = text.partition("  - id: pimg-cs-g83rje\n")
    text = before + after[after.index("  - id: ") :]
    assert dropped
    for old, new in (
        ("description: Kernel 3.10.0-957, for the traditional networks.\n", 'description: "二手: 957"\n'),
        ("cn-bj2-02: {10G: 7, 25G: 12}", "cn-bj2-02: {10G: 7, 25G: 0}"),
        ("name: {zh: 华北（北京2）, en: North China (Beijing 2)}", "name: {zh: 华北（北京2）, en: Beijing Two}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text + NEW_IMAGE


def test_a_catalogue_is_planned_applied_edited_and_applied_again_and_its_past_stays_as_it_was(
    fresh: Installation, tmp_path: Path
) -> None:
    cli, file = fresh.phimage, tmp_path / "catalog.yaml"
    file.write_text(cli.well("catalog", "starter"))
    assert file.read_text() == starter()

    planned = cli.run("catalog", "plan", str(file))
    assert planned.code == 2
    assert planned.err.endswith("219 to be added; nothing was changed yet\n")
    assert "+ image pimg-cs-f0ikb9  (CentOS 7.6 64位)\n" in planned.out
    nothing = exported(fresh)
    applied = cli.run("catalog", "apply", str(file))
    assert (applied.code, applied.out) == (0, planned.out)
    assert applied.err.endswith("219 added; revision 2\n")
    again = cli.run("catalog", "plan", str(file))
    assert (again.code, again.out) == (0, "")
    assert again.err.endswith("no changes: the catalogue matches the file at revision 2\n")
    old, old_list = exported(fresh), listed(cli)

    file.write_text(edited(starter()))
    planned = cli.run("catalog", "plan", "--verbose", str(file))
    assert planned.code == 2
    assert planned.out == (
        "~ region cn-bj2  (Beijing Two)\n"
        "    name.en: North China (Beijing 2) -> Beijing Two\n"
        "~ offer Base-SSD-V5/cn-bj2-02/25G  (stock 0)\n"
        "    stock: 12 -> 0\n"
        "~ image pimg-cs-f0ikb9  (CentOS 7.6 64位)\n"
        "    description: Kernel 3.10.0-957, for the traditional networks. -> 二手: 957\n"
        "+ image pimg-db-brandnew  (Debian 14.0 64位)\n"
        "  image pimg-cs-g83rje is not in the file and stays\n"
    )
    assert planned.err.endswith("--prune would withdraw what stays\n1 to be added, 3 to be changed; nothing was changed yet\n")
    short = cli.run("catalog", "plan", str(file))
    differences = planned.out.replace("  image pimg-cs-g83rje is not in the file and stays\n", "")
    assert short.out == differences
    assert short.err.startswith("1 entry is not in the file and stays (--verbose lists them); --prune would")
    assert cli.run("catalog", "apply", str(file)).out == differences
    between = exported(fresh)
    assert "pimg-cs-g83rje" in between
    assert "pimg-db-brandnew" in between

    pruned = cli.run("catalog", "plan", str(file), "--prune")
    assert (pruned.code, pruned.out) == (2, "- image pimg-cs-g83rje  (CentOS 6.10 64位)\n")
    assert pruned.err.endswith("1 to be withdrawn; nothing was changed yet\n")
    unasked = cli.run("catalog", "apply", "--prune", str(file))
    command = f"phimage catalog apply --prune --yes 1 {file}"
    assert (unasked.code, unasked.out) == (65, "")
    assert unasked.err == (
        "- image pimg-cs-g83rje  (CentOS 6.10 64位)\n"
        f"phimage: pruning would withdraw 1 image; nothing was changed. To confirm: {command}\n"
    )
    assert cli.in_terminal("catalog", "apply", "--prune", str(file), answers={"Withdraw 1 image?": "n"}).code == 1
    assert exported(fresh) == between
    assert cli.run(*command.split()[1:]).out == pruned.out
    assert cli.run("catalog", "plan", "--prune", str(file)).code == 0
    new, new_list = exported(fresh), listed(cli)
    assert "pimg-cs-g83rje" not in new

    assert [exported(fresh, revision) for revision in range(5)] == [nothing, nothing, old, between, new]
    assert cli.well("catalog", "export", "--rev", "2") == old
    assert listed(cli, "--rev", "2") == old_list
    assert {row["ImageId"] for row in new_list["ImageSet"]} - {row["ImageId"] for row in old_list["ImageSet"]} == {
        "pimg-db-brandnew"
    }
    future = cli.run("image", "ls", *PLACE, "--rev", "5")
    assert (future.code, "the newest revision is 4" in future.err) == (1, True)

    revisions = cli.json("log")["RevisionSet"]
    assert [(row["Revision"], row["Action"], row["Address"]) for row in revisions] == [
        (4, "ApplyCatalog", "127.0.0.1"),
        (3, "ApplyCatalog", "127.0.0.1"),
        (2, "ApplyCatalog", "127.0.0.1"),
        (1, "FirstStart", "local"),
    ]
    assert {row["Actor"] for row in revisions[:3]} == {f"operator/main {fresh.key.public}"}
    assert len({row["RequestId"] for row in revisions}) == 4
    assert revisions[0]["Changes"] == [{"Noun": "image", "Id": "pimg-cs-g83rje", "Verb": "withdrawn"}]
    assert [(change["Verb"], change["Id"]) for change in revisions[1]["Changes"]] == [
        ("changed", "cn-bj2"),
        ("changed", "Base-SSD-V5/cn-bj2-02/25G"),
        ("added", "pimg-db-brandnew"),
        ("changed", "pimg-cs-f0ikb9"),
    ]
    table = cli.well("log", "--changes", "--after", "3")
    for text in ("4", "ApplyCatalog", "operator/main", "127.0.0.1", "image pimg-cs-g83rje  withdrawn"):
        assert text in table


@pytest.mark.more
def test_an_export_is_the_same_bytes_each_time_and_plans_no_change(installation: Installation, tmp_path: Path) -> None:
    cli = installation.phimage
    first = cli.well("catalog", "export")
    cli.well("catalog", "export", "-o", str(tmp_path / "second.yaml"))
    assert (tmp_path / "second.yaml").read_text("utf-8") == first
    for options in ((), ("--prune",)):
        planned = cli.run("catalog", "plan", "-", *options, text=first)
        assert (planned.code, planned.out) == (0, "")
    exported, shipped = (yaml.safe_load(text)["images"] for text in (first, starter()))
    assert {image["id"] for image in shipped} <= {image["id"] for image in exported}  # other tests publish more


@pytest.mark.more
@on_sqlite
def test_a_plan_is_told_to_programs_too(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text(edited(starter()))
    planned = installation.phimage.run("catalog", "plan", "--prune", "--json", str(file))
    assert planned.code == 2
    found = json.loads(planned.out)
    assert [(row["Verb"], row["Noun"], row["Id"]) for row in found["DifferenceSet"]] == [
        ("changed", "region", "cn-bj2"),
        ("changed", "offer", "Base-SSD-V5/cn-bj2-02/25G"),
        ("changed", "image", "pimg-cs-f0ikb9"),
        ("withdrawn", "image", "pimg-cs-g83rje"),
        ("added", "image", "pimg-db-brandnew"),
    ]
    assert found["DifferenceSet"][1]["Fields"] == [{"Field": "stock", "Old": "12", "New": "0"}]
    assert found["KeptSet"] == []


def test_a_name_of_older_data_with_control_characters_is_shown_escaped_and_removed_by_the_file(tmp_path: Path) -> None:
    image, hostile = "pimg-cs-f0ikb9", "a\x1b[31m\x9b\u202eb"
    arguments = ("serve", "--port", "0", "--data-dir", "data")
    home = Phimage(tmp_path)
    with Server(home, *arguments) as server:
        key = server.new_key
        assert key is not None
        home.using(server.url, key).well("catalog", "apply", "-", text=starter())
    with closing(sqlite3.connect(tmp_path / "data" / "catalog.sqlite")) as database, database:
        database.execute("UPDATE image SET name = ?, description = ? WHERE id = ?", (hostile, "one\ndigest   forged", image))

    with Server(home, *arguments) as server:
        cli = home.using(server.url, key)
        shown = [
            cli.well("image", "ls", *PLACE, "--limit", "1000"),
            cli.well("image", "show", image),
            cli.well("image", "explain", image, *PLACE),
            cli.run("catalog", "plan", "-", text=starter()).out,
            cli.well("log", "--changes"),
            exported := cli.well("catalog", "export"),
            cli.well("image", "show", image, "--json"),
        ]
        assert [text for text in shown if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)] == []
        for text in (shown[0], shown[1], shown[3]):
            assert r"a\x1b[31m\x9b\u202eb" in text
        assert re.search(r"^about +one\\x0adigest   forged", shown[1], re.MULTILINE)
        assert cli.json("image", "show", image)["Image"]["ImageName"] == hostile

        refused = cli.run("catalog", "plan", "-", text=exported)
        line = next(number for number, text in enumerate(exported.splitlines(), 1) if r"\u202e" in text)
        assert refused.code == 1
        assert re.search(
            rf"^standard input:{line}:\d+: images\[\d+\]\.name: a text cannot contain U\+001B$", refused.err, re.MULTILINE
        )
        cli.well("catalog", "apply", "-", text=starter())
        assert cli.run("catalog", "plan", "-", text=cli.well("catalog", "export")).code == 0


BROKEN = """\
phimage: 1
clusters:
  - {id: 25G, default: true}
regions:
  - id: cn-bj2
    number: 1
    name: {zh: 北京, en: Beijing}
    default: true
    zones:
      - {id: cn-bj2-02, name: {zh: B, en: B}}
machine_types: []
images:
  - id: pimg-db-twice
    name: Debian 13
    family: debian-13
    os_type: Debian
    os_name: Debian 13
    size: twenty
    created: "2026-11-01T00:00:00Z"
    zones: [cn-bj2-2]
    support: {Base-SSD-V9: [25G, 40G]}
    state: Broken
  - id: pimg-db-twice
    name: Debian 13
    family: debian-13
    os_typ: Debian
    os_name: Debian 13
    size: 20
    created: "2026-02-30T00:00:00Z"
"""


@on_sqlite
def test_a_broken_file_is_told_with_every_error_and_where_and_nothing_is_changed(
    installation: Installation, tmp_path: Path
) -> None:
    cli, file = installation.phimage, tmp_path / "broken.yaml"
    file.write_text(BROKEN)
    before = exported(installation)
    for command in (("plan",), ("apply",), ("apply", "--prune")):
        result = cli.run("catalog", *command, str(file))
        assert (result.code, result.out) == (1, "")
        *errors, last = result.err.splitlines()
        assert last == f"phimage: {len(errors)} errors in {file}; nothing was changed"
        places = [error.removeprefix(f"{file}:").split(": ")[:2] for error in errors if error.startswith(f"{file}:")]
        assert len(places) == len(errors) == 8
        assert places == [
            ["18:11", "images[0].size"],
            ["20:13", "images[0].zones[0]"],
            ["21:15", "images[0].support.Base-SSD-V9"],
            ["21:34", "images[0].support.Base-SSD-V9[1]"],
            ["22:12", "images[0].state"],
            ["23:9", "images[1].id"],
            ["26:5", "images[1].os_typ"],
            ["29:14", "images[1].created"],
        ]
    report = json.loads(cli.run("catalog", "plan", "--json", str(file)).err)
    assert (report["Message"], len(report["Errors"])) == (f"8 errors in {file}; nothing was changed", 8)
    assert [report["Errors"][1][field] for field in ("Line", "Column", "Field")] == [20, 13, "images[0].zones[0]"]
    assert exported(installation) == before


@on_sqlite
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty; `phimage catalog starter` prints a catalogue to begin with"),
        (b"\xff\xfe", "is not UTF-8: byte 0"),
        (b"phimage: [1\n", ":2:1: this is not YAML: "),
        (b"images: []\n", ":1:1: phimage: missing; expected version of the file format: 1"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_none_is_told_by_its_name(
    installation: Installation, tmp_path: Path, content: bytes | None, told: str
) -> None:
    file = tmp_path / "catalog.yaml"
    if content is not None:
        file.write_bytes(content)
    result = installation.phimage.run("catalog", "apply", str(file))
    assert (result.code, result.out) == (1, "")
    assert str(file) in result.err
    assert told in result.err


@on_sqlite
def test_standard_input_is_called_so_in_errors(installation: Installation) -> None:
    result = installation.phimage.run("catalog", "plan", "-", text="phimage: 2\n")
    assert result.code == 1
    assert result.err == (
        'standard input:1:10: phimage: expected 1; found "2"\nphimage: 1 error in standard input; nothing was changed\n'
    )


def test_the_schema_is_json_and_names_every_section(tmp_path: Path) -> None:
    schema = json.loads(Phimage(tmp_path).well("catalog", "schema"))
    text = json.dumps(schema)
    assert all(f'"{section}"' in text for section in ("clusters", "regions", "machine_types", "images"))
