"""`phimage image explain` and `matrix` against the demonstration, and what they and `show` say of bytes that are not there."""

from __future__ import annotations

import json

import pytest
from rich.cells import cell_len

from tests.e2e import naive
from tests.e2e.process import Phimage
from tests.e2e.test_images import plain

IMAGE = "pimg-db-m1sygy"
CLUSTERS = ["1G", "10G", "25G"]


@pytest.mark.parametrize("output", [(), ("--json",)])
@pytest.mark.parametrize(
    ("options", "code"), [((), 0), (("--machine-type", "DB-2"), 1), (("--type", "Custom"), 1), (("--zone", "cn-sh2-02"), 1)]
)
def test_explain_exits_with_1_when_the_image_is_not_listed(
    demo_cli: Phimage, options: tuple[str, ...], code: int, output: tuple[str, ...]
) -> None:
    result = demo_cli.run("image", "explain", IMAGE, *options, *output)

    assert result.code == code
    if "--zone" in options:  # of another region
        assert (result.out, "cn-sh2-02 is in region cn-sh2: use Region=cn-sh2" in result.err) == ("", True)
    elif output:
        assert json.loads(result.out)["Listed"] == (code == 0)
    else:
        assert result.out.startswith(f"{IMAGE} is listed: number" if code == 0 else f"{IMAGE} is not listed, because:\n")


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
def test_the_matrix_marks_where_the_image_is_listed_in_characters_that_the_output_has(demo_cli: Phimage, encoding: str) -> None:
    table = Phimage(demo_cli.home, **{**demo_cli.environment, "PYTHONIOENCODING": encoding}).execute("image", "matrix", IMAGE)
    heading, *lines = table.out.splitlines()
    rows = {kind: marks for kind, *marks in (line.split() for line in lines if not line.startswith(("✓", "Y ", "supported,")))}
    listed, offered, absent = "✓·–" if encoding == "utf-8" else "Y.-"

    assert table.code == 0
    assert heading.split() == ["MACHINE", "TYPE", *CLUSTERS]
    for kind, marks in rows.items():
        if set(marks) == {absent}:  # a list refuses a machine type that the zone does not offer
            continue
        for cluster, mark in zip(CLUSTERS, marks, strict=True):
            has = IMAGE in [image["ImageId"] for image in naive.listed(machine_type=kind, cluster=cluster)]
            assert (mark == listed) == has, (kind, cluster)
    assert rows["DB-2"] == [offered, offered, absent]
    assert f"{listed} listed   {offered} offered here, not listed   {absent} not offered here" in lines
    assert "supported, but not offered here: BM.Compute.I7.M10, BM.Compute.I7.M3, BM.Optane.I7.M20" in lines


def test_the_matrix_as_json_has_every_cell_and_the_zones(demo_cli: Phimage) -> None:
    found = demo_cli.json("image", "matrix", IMAGE, "--all-zones")

    assert found["Zones"] == ["cn-bj2-02", "cn-bj2-03", "cn-bj2-05"]
    cells = {(cell["MachineType"], cell["Cluster"]): cell for cell in found["MatrixSet"]}
    assert cells["DB-2", "10G"] == {
        "MachineType": "DB-2",
        "Cluster": "10G",
        "Offered": True,
        "Supported": False,
        "Listed": False,
        "Rule": "runs",
    }


def test_an_image_of_the_callers_other_project_is_explained_with_its_project(demo_cli: Phimage) -> None:
    for command in ("explain", "matrix"):
        shown = demo_cli.run("image", command, "pimg-os-lab2v8pd").out
        assert "visible: it is a custom image of project org-xyz, and the list is of project org-default" in shown
        assert "ProjectId=org-xyz" in shown


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (
            IMAGE,
            "phimage has no bytes of this image, so it cannot be downloaded from here: an operator can name their `source:`",
        ),
        ("pimg-os-db4x9tqe", "phimage has no bytes of this image, so it cannot be downloaded from here: publish it again"),
        ("pimg-os-ci6h3wzn", "phimage has no bytes of this image yet: they come with its publication"),
    ],
)
def test_show_and_explain_say_that_there_are_no_bytes(demo_cli: Phimage, image: str, sentence: str) -> None:
    assert f"note: {sentence}" in demo_cli.run("image", "explain", image).out
    assert f"bytes    {sentence}" in demo_cli.run("image", "show", image).out
    assert "no bytes" not in demo_cli.well("image", "show", "pimg-os-web7k2ma")


@pytest.mark.parametrize("command", [("explain", "--machine-type", "DB-2"), ("explain", "--cluster", "1G"), ("matrix",)])
def test_both_fit_a_terminal_of_eighty_columns_and_are_one_line_each_elsewhere(
    demo_cli: Phimage, command: tuple[str, ...]
) -> None:
    arguments = ("image", *command, IMAGE)
    shown, piped = demo_cli.in_terminal(*arguments), demo_cli.run(*arguments)

    assert max(cell_len(line) for line in plain(shown.out).splitlines()) <= 80
    assert plain(shown.out).split()[: len(piped.out.split())] == piped.out.split()
