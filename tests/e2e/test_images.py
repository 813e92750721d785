"""`phimage image` against the demonstration: every option, to the end of the list, and in a terminal of 80 columns."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from rich.cells import cell_len

from phimage import demo as demonstration
from tests.e2e import naive
from tests.e2e.conftest import DEMO_KEY, Installation, on_sqlite, starter
from tests.e2e.process import Phimage, Server

IDS = ["pimg-cs-web7k2ma", "pimg-cs-hbiw5o"]


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
        (["--all", "--offset", "40", "--limit", "1"], naive.listed()[40:]),
        (["--rev", "1"], None),
    ],
)
def test_each_option_narrows_the_list(
    demo_cli: Phimage, revision: int, options: list[str], expected: list[dict[str, Any]] | None
) -> None:
    if expected is None:  # the first revision has no catalogue: not even the region is there
        refused = demo_cli.run("image", "ls", *options)
        assert refused.code == 1
        assert refused.err.startswith("phimage: RetCode 230: Params [Region] not available")
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
    assert last.err == f"2 of {total} images at revision {revision}\n"
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
            while len(lists) < 3 or len({found["Revision"] for found in lists}) < 2:
                lists.append(installation.phimage.json("image", "ls", *zone, "--all", "--limit", "1"))
                assert len(lists) < 20, "the catalogue does not change"
        finally:
            stop.set()
            changing.join()
        client.call("ApplyCatalog", Catalog=starter(), Prune=True, Withdraw=len(others) + 1)
        for found in lists:
            with client.at(found["Revision"]) as past:
                answer = past.call("DescribePHostImage", Region=zone[1], Zone=zone[3], Limit=1000).fields
            assert found["ImageSet"] == answer["ImageSet"]
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
    own = demo_cli.json("image", "show", "pimg-cs-lab2v8pd", "--project", "org-xyz")
    assert own["Image"]["ImageName"] == "kernel-lab"
    foreign = demo_cli.run("image", "show", "pimg-cs-lab2v8pd")
    unknown = demo_cli.run("image", "show", "pimg-cs-nowhere")
    past = demo_cli.run("image", "show", "pimg-cs-lab2v8pd", "--project", "org-xyz", "--rev", "2")
    assert foreign == unknown == past
    assert foreign.code == 1
    assert foreign.err.startswith("phimage: RetCode 230: Params [ImageId] not available (")


@pytest.mark.parametrize(
    "command",
    [
        ("image", "ls"),
        ("image", "show", "pimg-ub-lhrhm0"),
        ("image", "show", "pimg-cs-old5r7uc", "--project", "org-xyz"),
        ("image", "ls", "--help"),
        ("--help",),
    ],
)
def test_what_a_person_sees_fits_a_terminal_of_eighty_columns(demo_cli: Phimage, command: tuple[str, ...]) -> None:
    shown = demo_cli.in_terminal(*command)
    assert shown.code == 0
    assert max(cell_len(line) for line in plain(shown.out).splitlines()) <= 80
    if command == ("image", "ls"):
        assert all(id in shown.out for id in ids(naive.listed())[:20]), "an id is never cut"


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
    assert (process.wait(30), process.stderr.read()) == (1, "")
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
