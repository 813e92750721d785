"""A tenant's image at the command line, from the file to its removal, and what its operator sees of it."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Installation, on_sqlite
from tests.e2e.process import Key
from tests.publishing.shop import disk, sha256_of

ABOUT = ("--name", "Web", "--os-type", "Debian", "--os-name", "Debian 12", "--zone", "cn-bj2-02", "--support", "DB-2")
PLACE = {"PHIMAGE_REGION": "cn-bj2", "PHIMAGE_ZONE": "cn-bj2-02"}


@on_sqlite
def test_an_editor_publishes_changes_and_removes_an_image(installation: Installation, tmp_path: Path) -> None:
    operator, raw = installation.phimage, disk(tmp_path)
    project = operator.json("account", "add", "images")["ProjectId"]
    operator.well("user", "add", "editor", "--account", "images")
    operator.well("project", "member", project, "editor", "--account", "images", "--role", "editor")
    made = operator.json("key", "create", "--account", "images", "--user", "editor")
    editor = operator.using(installation.url, Key(made["PublicKey"], made["PrivateKey"]), PHIMAGE_PROJECT=project, **PLACE)

    refused = editor.run("image", "publish", str(raw), "--type", "base", "--trust-first-use", *ABOUT)
    assert (refused.code, "only operators publish base images; --type custom is for one project" in refused.err) == (1, True)
    known = ("--digest", f"sha256:{sha256_of(raw)}")
    published = editor.run("image", "publish", str(raw), "--type", "custom", "--label", "spot=", *known, *ABOUT)
    image = published.out.strip()
    assert published.err.splitlines()[0] == f"{image} is for project {project} only"
    assert editor.well("image", "wait", image).strip() == image
    assert editor.well("image", "progress", image).startswith("100.0 %, published in ")
    assert editor.json("image", "progress", image)["Phase"] == "store"

    changes = ("--name", "Web 2", "--version", "2", "--label", "team=web", "--label", "tier=1", "--deprecated", "2100-01-31")
    said = editor.run("image", "set", image, *changes)
    assert said.err.startswith(f"{image}: changed Name, Version, DeprecationTime, Label; revision ")
    shown = editor.well("image", "show", image)
    assert "ends     deprecated from 2100-01-31 00:00 UTC\n" in shown
    assert "labels   spot=, team=web, tier=1\n" in shown
    assert editor.run("image", "set", image, *changes).err == f"{image} was like that already; nothing changed\n"
    editor.well(
        "image",
        "set",
        image,
        "--version",
        "",
        "--no-label",
        "tier",
        "--no-label",
        "spot",
        "--no-deprecated",
        "--support",
        "DB-2:10G",
    )
    assert "needs a key of an operator account" in editor.run("image", "set", image, "--state", "Unavailable").err

    for caller in (editor, operator):
        shown = caller.json("image", "show", image)
        assert (shown["Image"]["ImageName"], shown["Image"]["Version"], shown["Labels"]) == ("Web 2", "", {"team": "web"})
        assert (shown["DeprecationTime"], shown["Origin"]["Source"]) == (0, "uploaded")
        assert shown["Runs"][0]["Clusters"] == ["10G"]
        assert (
            caller.well("image", "ls", "--project", project, "--label", "team=web", "--has-bytes", "-o", "id") == f"{image}\n"
        )
    everywhere = operator.well("image", "ls", "--project", "all", "--mine", "--columns", "id,project")
    assert [image, project] in [line.split() for line in everywhere.splitlines()]
    assert operator.json("image", "set", image, "--state", "Unavailable")["Changed"] == ["State"]
    assert f"/images/{image}.raw?" in operator.well("image", "url", image)
    assert operator.run("image", "verify", image, "--data-dir", "data").code == 0
    editor.well("image", "rm", image, "--yes")
    assert editor.run("image", "show", image).code == 1
