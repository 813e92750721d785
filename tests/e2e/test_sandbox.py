"""A publisher on a kernel without Landlock: it refuses to work, says why, and is counted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from phimage.formats.sandbox_child import CREATE_RULESET
from tests.e2e.conftest import starter
from tests.e2e.process import DESCRIBED, PHIMAGE, Phimage, Server, wait_until
from tests.formats.test_sandbox_child import LANDLOCK
from tests.formats.without import MESSAGE, without
from tests.publishing.shop import as_qcow2, disk

UNDER = without(CREATE_RULESET)
FILES_MISSING = 'phimage_sandbox_wall_missing{wall="files"} 1.0'

pytestmark = pytest.mark.skipif(
    not LANDLOCK or shutil.which("qemu-img", path=f"{os.environ['PATH']}:/usr/bin") is None,
    reason="publishing is impossible here",
)


def metrics(server: Server) -> str:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=60) as response:
        return str(response.read(), "utf-8")


def test_a_publisher_without_a_wall_refuses_to_work_and_says_why(tmp_path: Path) -> None:
    with Server(Phimage(tmp_path, PHIMAGE_PUBLISHERS="1"), "serve", "--port", "0", under=UNDER) as server:
        wait_until(lambda: '"event": "publisher.ended"' in server.errors, 60)
        said = server.errors
        counted: list[str] = []

        def is_counted() -> bool:
            counted.append(metrics(server))
            return FILES_MISSING in counted[-1]

        wait_until(is_counted, 60)  # not while the publisher begins once more

    assert f"a sandbox without a wall: files (landlock: {MESSAGE}): use a kernel with Landlock" in said
    assert "require_sandbox = false" in said
    assert json.loads(next(line for line in said.splitlines() if "publisher.ended" in line))["status"] == 78
    assert 'phimage_sandbox_wall_missing{wall="network"} 0.0' in counted[-1]


@pytest.mark.more
def test_an_operator_may_publish_without_a_wall(tmp_path: Path) -> None:
    original = as_qcow2(disk(tmp_path))
    home = Phimage(tmp_path / "home", PHIMAGE_PUBLISHERS="1", PHIMAGE_REQUIRE_SANDBOX="false")
    with Server(home, "serve", "--port", "0", under=UNDER) as server:
        assert server.new_key is not None
        operator = home.using(server.url, server.new_key)
        operator.well("catalog", "apply", "-", text=starter())
        operator.well("image", "publish", str(original), "--trust-first-use", *DESCRIBED)
        wait_until(lambda: 'phimage_jobs_ended_total{outcome="done"} 1.0' in metrics(server), 60)
        counted, said = metrics(server), server.errors

    assert FILES_MISSING in counted
    event = json.loads(next(line for line in said.splitlines() if '"sandbox.walls"' in line))
    assert (event["level"], event["required"], event["missing"]) == ("warning", False, {"files": f"landlock: {MESSAGE}"})


@pytest.mark.more
def test_a_demonstration_without_a_wall_has_its_disk_and_says_what_it_cannot_publish(tmp_path: Path) -> None:
    home = Phimage(tmp_path)
    ended = subprocess.run(
        [*UNDER, PHIMAGE, "demo", "--once", "--port", "0"],
        env=home.environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "5 of the " in ended.stdout
    assert "# download a disk, verified\n" in ended.stdout
    assert "Publishing others: qemu-img would read hostile images in a sandbox without a wall" in ended.stdout
