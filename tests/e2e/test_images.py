"""`phimage image` against the demonstration: every option, to the end of the list, and in a terminal of 80 columns."""

from __future__ import annotations

import csv
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from phimage import demo as demonstration
from tests.e2e import naive
from tests.e2e.conftest import DEMO_KEY, Installation, on_sqlite, starter
from tests.e2e.process import Phimage, Server


def _age(row: dict[str, Any]) -> tuple[int, str]:
    """The place of an image among all by age: custom images are of the last days, so they are later than base images."""
    custom = {image["id"]: -image["created"] for image in naive.CUSTOM}
    return (1 << 40) - custom[row["ImageId"]] if row["ImageId"] in custom else row["CreateTime"], row["ImageId"]


IDS = ["pimg-os-web7k2ma", "pimg-cs-hbiw5o"]


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["ImageId"] for row in rows]


@pytest.fixture(scope="session")
def revision(demo: Server) -> int:
    """The revision of the demonstration."""
    with demonstration.client(demo.url) as client:
        found = client.call("GetUserInfo").revision
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--limit", "1000"], naive.listed()),
        (["--type", "base", "--limit", "1000"], naive.listed(kind="Base")),
        (["--mine"], naive.listed(kind="Custom")),
        (["--project", "org-xyz", "--type", "Custom"], naive.listed("org-xyz", kind="Custom")),
        (["--id", IDS[0], "--id", IDS[1]], naive.listed(ids=IDS)),
        (["--machine-type", "DB-2", "--limit", "50"], naive.listed(machine_type="DB-2")),
        (["--machine-type", "DB-2", "--cluster", "1G"], naive.listed(machine_type="DB-2", cluster="1G")),
        (["--cluster", "1G"], naive.listed(cluster="1G")),
        (["--zone", "hk-02", "--region", "hk", "--all"], naive.listed(zone="hk-02")),
        (["--all", "--limit", "9"], naive.listed()),
        (["--zone", "hk-02", "--all"], naive.listed(zone="hk-02")),
        (["--text", "rocky", "--limit", "50"], [row for row in naive.listed() if "Rocky" in row["ImageName"]]),
        (["--os", "ubuntu", "--state", "unavailable"], []),
        (["--has-bytes", "--all-zones"], [{"ImageId": demonstration.WITH_DISK}]),
        (["--no-bytes", "--mine"], [row for row in naive.listed(kind="Custom") if row["ImageId"] != demonstration.WITH_DISK]),
        (["--all", "--sort", "created"], sorted(naive.listed(), key=_age)),
        (["--all", "--offset", "40", "--limit", "1"], naive.listed()[40:]),
        (["--rev", "1"], None),
    ],
)
def test_each_option_narrows_the_list(
    demo_cli: Phimage, revision: int, options: list[str], expected: list[dict[str, Any]] | None
) -> None:
    if expected is None:  # the first revision has no catalogue: not even the region is there
        empty = demo_cli.run("image", "ls", *options)
        assert (empty.code, empty.out) == (0, "no images\n")
        assert empty.err.endswith("no image was listed in cn-bj2-02 at revision 1: phimage log shows what came later\n")
        return
    found = demo_cli.json("image", "ls", *options)
    assert ids(found["ImageSet"]) == ids(expected)
    assert found["Revision"] == revision


def test_a_page_says_how_to_see_more(demo_cli: Phimage, revision: int) -> None:
    total = len(naive.listed())
    first = demo_cli.run("image", "ls")
    assert len(first.out.splitlines()) == 21
    assert first.err == f"20 of {total} images at revision {revision}; use --offset 20 or --all for more\n"
    last = demo_cli.run("image", "ls", "--offset", str(total - 2))
    assert ids(naive.listed())[-2:] == [line.split()[0] for line in last.out.splitlines()[1:]]
    assert last.err.startswith(f"2 of {total} images at revision {revision}\n")
    nothing = demo_cli.run("image", "ls", "--limit", "0")
    assert (nothing.out, nothing.err) == ("no images\n", f"0 of {total} images at revision {revision}\n")


@on_sqlite
def test_all_is_one_revision_from_the_first_page_to_the_last_while_the_catalogue_changes(installation: Installation) -> None:
    # An image newer than all others comes and goes, so every page of the newest revision would be off by one.
    # It is placed in a zone of its own: nothing else is listed there, and no other test looks.
    zone = ("--region", "afr-nigeria", "--zone", "afr-nigeria-01")
    newest = _image("pimg-zz-newest", "2030-01-01T00:00:00Z", "afr-nigeria-01")
    others = [_image(f"pimg-zz-{number:04}", "2029-01-01T00:00:00Z", "afr-nigeria-01") for number in range(30)]
    stop = threading.Event()
    with installation.client() as client:
        client.call("ApplyCatalog", Catalog=_catalogue(*others))

        def change() -> None:
            placed = True
            while not stop.is_set():
                text = _catalogue(newest if placed else newest.replace("zones: [afr-nigeria-01]", "zones: []"))
                client.call("ApplyCatalog", Catalog=text)
                placed = not placed

        changing = threading.Thread(target=change)
        changing.start()
        try:
            lists: list[Any] = []
            ends = time.monotonic() + 60
            while len(lists) < 3 or len({found["Revision"] for found in lists}) < 2:
                lists.append(installation.phimage.json("image", "ls", *zone, "--all", "--limit", "1"))
                assert time.monotonic() < ends, "the catalogue does not change"
        finally:
            stop.set()
            changing.join()
        client.call("ApplyCatalog", Catalog=starter(), Prune=True, Withdraw=len(others) + 1)
        for found in lists:
            with client.at(found["Revision"]) as past:
                answer = past.call("DescribePHostImage", Region=zone[1], Zone=zone[3], Limit=1000).fields
            assert ids(found["ImageSet"]) == ids(answer["ImageSet"])
            assert found["TotalCount"] == len(found["ImageSet"])


def _catalogue(*images: str) -> str:
    return "\n".join(["phimage: 1", "images:", *images]) + "\n"


def _image(id: str, created: str, zone: str) -> str:
    return f"""\
  - id: {id}
    name: {id}
    family: moving
    os_type: Debian
    os_name: Debian 13
    size: 20
    created: "{created}"
    zones: [{zone}]"""


def test_an_image_is_shown_whole(demo_cli: Phimage) -> None:
    image = next(image for image in naive.STARTER["images"] if image["id"] == "pimg-cs-hbiw5o")
    found = demo_cli.json("image", "show", "pimg-cs-hbiw5o")
    assert (found["Family"], found["Deprecated"], found["Zones"]) == ("centos-7", False, sorted(image["zones"]))
    runs = {run["MachineType"]: set(run["Clusters"]) for run in found["Runs"]}
    assert runs == {kind: set(clusters) for kind, clusters in image["support"].items()}
    assert found["Image"]["ImageName"] == image["name"]
    shown = demo_cli.well("image", "show", "pimg-cs-hbiw5o")
    for text in (image["name"], "centos-7", *image["zones"], *image["support"]):
        assert text in shown


def test_an_image_of_another_project_is_as_unknown_as_one_that_never_was(demo_cli: Phimage) -> None:
    own = demo_cli.json("image", "show", "pimg-os-lab2v8pd", "--project", "org-xyz")
    assert own["Image"]["ImageName"] == "kernel-lab"
    foreign = demo_cli.run("image", "show", "pimg-os-lab2v8pd")
    unknown = demo_cli.run("image", "show", "pimg-cs-nowhere")
    past = demo_cli.run("image", "show", "pimg-os-lab2v8pd", "--project", "org-xyz", "--rev", "2")
    assert foreign == unknown == past
    assert foreign.code == 1
    assert foreign.err.startswith("phimage: RetCode 230: Params [ImageId] not available (")


@pytest.mark.parametrize(
    "command",
    [
        ("image", "ls"),
        ("image", "show", "pimg-ub-lhrhm0"),
        *(
            pytest.param(words, marks=pytest.mark.more)
            for words in (("image", "show", "pimg-os-old5r7uc", "--project", "org-xyz"), ("image", "ls", "--help"), ("--help",))
        ),
    ],
)
def test_what_a_person_sees_fits_a_terminal_of_eighty_columns(demo_cli: Phimage, command: tuple[str, ...]) -> None:
    shown = demo_cli.in_terminal(*command)
    assert shown.code == 0
    assert max(cell_len(line) for line in plain(shown.out).splitlines()) <= 80
    if command == ("image", "ls"):
        assert all(id in shown.out for id in ids(naive.listed())[:20]), "an id is never cut"


@pytest.mark.parametrize(("columns", "dropped"), [(60, "CREATED, VERSION, GB, SUPPORT"), (80, "GB, SUPPORT"), (120, "")])
def test_a_list_has_a_line_an_image_and_names_the_columns_that_it_has_no_room_for(
    demo_cli: Phimage, columns: int, dropped: str
) -> None:
    shown = demo_cli.in_terminal("image", "ls", "--mine", columns=columns)
    lines = plain(shown.out).splitlines()

    assert max(map(cell_len, lines[:4])) <= columns
    assert [line.split()[0] for line in lines[1:4]] == ids(naive.listed(kind="Custom"))
    assert [line for line in lines if "●" in line] == [lines[3], "● in BYTES: the disk is stored, and can be downloaded"]
    assert lines[6:] == ([f"no room for {dropped}: -o wide shows all, --columns some"] if dropped else [])
    for heading in filter(None, dropped.split(", ")):
        assert heading not in lines[0]


@pytest.mark.parametrize("variables", [{"LANG": "C"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}])
def test_a_list_fits_a_terminal_of_any_encoding(demo_cli: Phimage, variables: dict[str, str]) -> None:
    shown = Phimage(demo_cli.home, **{**demo_cli.environment, **variables}).in_terminal("image", "ls", columns=60)
    lines = plain(shown.out).splitlines()

    assert shown.code == 0
    assert max(map(cell_len, lines[:21])) <= 60
    assert [line.split()[0] for line in lines[1:21]] == ids(naive.listed())[:20]
    assert any(line.endswith("…" if variables == {"LANG": "C"} else "...") for line in lines[1:21])


def test_a_list_has_other_forms(demo_cli: Phimage) -> None:
    expected = ids(naive.listed(kind="Custom"))
    assert demo_cli.run("image", "ls", "--mine", "-o", "id") == (0, "".join(f"{id}\n" for id in expected), "")
    wide = demo_cli.in_terminal("image", "ls", "--mine", "-o", "wide", columns=60)
    assert "Debian 12 64位" in wide.out
    table = demo_cli.well("image", "ls", "--mine", "--columns", "bytes,id,zones")
    assert [line.split() for line in table.splitlines()][-1] == ["●", expected[-1], "cn-bj2-02"]
    read = list(csv.DictReader(demo_cli.well("image", "ls", "--mine", "-o", "csv").splitlines()))
    assert [(row["id"], row["bytes"]) for row in read] == [(id, "yes" if id == expected[-1] else "no") for id in expected]
    rows = demo_cli.json("image", "ls", "--mine")["ImageSet"]
    shown = demo_cli.json("image", "show", expected[0])
    assert rows[0] == {**shown.pop("Image"), **shown}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--columns", "id,colour"], "there is no column 'colour'; expected some of id, bytes, type"),
        (["--columns", ","], "--columns names no column"),
        (["--columns", "id", "-o", "id"], "-o id has no columns"),
        (["--json", "-o", "csv"], "--json and -o csv are two forms: give one"),
    ],
)
def test_a_form_that_is_none_is_named(demo_cli: Phimage, options: list[str], reason: str) -> None:
    result = demo_cli.run("image", "ls", *options)
    assert result.code == 64
    assert reason in result.err


def test_the_latest_image_of_a_family_is_that_of_the_list(demo_cli: Phimage) -> None:
    families = {image["id"]: image["family"] for image in naive.STARTER["images"]}
    newest = next(row for row in naive.listed(machine_type="DB-2") if families[row["ImageId"]] == "debian-12")
    assert demo_cli.well("image", "latest", "debian-12", "--machine-type", "DB-2") == f"{newest['ImageId']}\n"
    assert demo_cli.json("image", "latest", "debian-12", "--machine-type", "DB-2")["ImageId"] == newest["ImageId"]
    none = demo_cli.run("image", "latest", "plan-9")
    assert (none.code, none.out) == (1, "")
    assert none.err == (
        "phimage: family plan-9 has no listed image that is Available in cn-bj2-02; "
        "see phimage image ls --all-zones --deprecated include --family plan-9\n"
    )


def test_without_a_zone_images_of_all_zones_are_listed(demo: Server, tmp_path: Path) -> None:
    nowhere = Phimage(tmp_path).using(demo.url, DEMO_KEY)
    here = Phimage(tmp_path).using(demo.url, DEMO_KEY, PHIMAGE_ZONE="cn-bj2-02")
    everywhere = ids(nowhere.json("image", "ls", "--all")["ImageSet"])

    assert len(everywhere) > len(naive.listed())
    assert ids(here.json("image", "ls", "--all-zones", "--all")["ImageSet"]) == everywhere
    found = here.json("image", "ls", "--region", "hk", "--all")["ImageSet"]
    assert set(ids(found)) >= set(ids(naive.listed(zone="hk-02")))
    assert here.run("image", "ls", "--text", "no such text").err.endswith("0 of 0 images at revision 5\n")


@on_sqlite
def test_what_an_operator_sees_fits_a_terminal_of_eighty_columns(installation: Installation) -> None:
    operator = installation.phimage
    for command in (("log", "-n", "3"), ("account", "ls"), ("key", "ls", "--account", "operator")):
        shown = operator.in_terminal(*command)
        assert shown.code == 0
        assert max(cell_len(line) for line in plain(shown.out).splitlines()) <= 80


def test_a_list_that_goes_to_a_closed_pipe_ends_quietly(demo: Server, demo_cli: Phimage) -> None:
    process = demo_cli.start("image", "ls", "--all", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (1, "")
    process.stderr.close()


def plain(text: str) -> str:
    """Text without what colours it."""
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_flags_win_over_variables_and_variables_over_the_profile(demo: Server, demo_cli: Phimage) -> None:
    profile = Phimage(demo_cli.home)
    add = ("config", "add", "demo", "--endpoint", demo.url, "--public-key", DEMO_KEY.public, "--private-key", DEMO_KEY.private)
    profile.well(*add, "--region", "hk", "--zone", "hk-02", "--project", "org-xyz")
    assert ids(profile.json("image", "ls")["ImageSet"]) == ids(naive.listed("org-xyz", zone="hk-02"))[:20]
    by_variable = Phimage(demo_cli.home, PHIMAGE_REGION="cn-bj2", PHIMAGE_ZONE="cn-bj2-02")
    mine = ("image", "ls", "--mine")
    assert ids(by_variable.json(*mine)["ImageSet"]) == ids(naive.listed("org-xyz", kind="Custom"))
    assert ids(by_variable.json(*mine, "--project", "org-default")["ImageSet"]) == ids(naive.listed(kind="Custom"))
    assert by_variable.json(*mine, "--zone", "cn-bj2-03")["ImageSet"] == []
