"""`phimage demo`: what it prints works as pasted, and it leaves alone what is not its own."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from phimage import demo as demonstration
from phimage import demo_disk
from tests.e2e import naive
from tests.e2e.process import STOP_SECONDS, Phimage, Server, open_to_others, wait_until

ZONE = "cn-bj2-02"


@pytest.fixture(scope="module")
def printed(demo: Server) -> str:
    """All that the serving demonstration prints."""
    wait_until(lambda: "Serving until Ctrl-C." in demo.output, STOP_SECONDS)
    return demo.output


def commands(printed: str) -> dict[str, str]:
    """The commands of a demonstration by their purpose."""
    found = re.findall(r"^# (.+)\n((?:.+\\\n)*.+)$", printed, re.MULTILINE)
    assert found, printed
    return dict(found)


def test_the_demonstration_lists_images_and_ends_well_when_asked_to_run_once(tmp_path: Path) -> None:
    result = Phimage(tmp_path).run("demo", "--once", "--port", "0")
    assert result.code == 0
    assert result.out.startswith("listening on http://127.0.0.1:")
    rows = naive.listed()
    for row in rows[:5]:
        start = rf"^{row['ImageId']} +{row['ImageType']} +{row['State']} +\d{{4}}-\d\d-\d\d +"
        assert re.search(start + re.escape(row["ImageName"]), result.out, re.MULTILINE)
    assert f"5 of the {len(rows)} images that" in result.out
    assert len(result.out.splitlines()) <= 40
    assert result.err == ""
    assert (tmp_path / "phimage-demo" / "master.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "phimage-demo").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_curl_line_answers_as_pasted_into_a_shell(printed: str) -> None:
    line = commands(printed)["list without phimage's commands"]
    ended = subprocess.run(["sh", "-c", line], capture_output=True, encoding="utf-8", timeout=60, check=True)
    answer = json.loads(ended.stdout)
    assert answer["RetCode"] == 0
    assert [row["ImageId"] for row in answer["ImageSet"]] == [row["ImageId"] for row in naive.listed()[:3]]


def test_it_prints_a_link_into_the_console_and_the_command_prints_others(printed: str, demo: Server) -> None:
    (link,) = re.findall(r"^http://127\.0\.0\.1:\d+/console/login#[A-Za-z0-9_-]{43}$", printed, re.MULTILINE)
    assert link.startswith(demo.url)
    phimage = Phimage(demo.home)
    phimage.environment["PHIMAGE_PROFILES"] = str(demo.home / "phimage-demo" / "profiles.toml")
    another = phimage.well("console").strip()
    assert another.startswith(f"{demo.url}/console/login#")
    assert json.loads(phimage.well("console", "--json", "--profile", "operator"))["LoginUrl"].startswith(demo.url)
    assert another != link
    sent = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    code = json.dumps({"Code": another.partition("#")[2]})
    assert requests.post(f"{demo.url}/console/login/code", code, headers=sent, timeout=60).status_code == 200
    wait_until(lambda: "phimage_sandbox" in requests.get(f"{demo.url}/metrics", timeout=60).text, STOP_SECONDS)
    assert '"level": "info"' not in demo.errors, "a sign-in is an event, but not one for the reader of a demonstration"


HIDING = ("unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /usr/bin/qemu-img && exec "$@"', "hiding")
"""Runs a command without qemu-img, which is taken from its place and from no other folder of the path."""


def test_without_qemu_the_disk_has_bytes_and_the_output_says_what_needs_it(tmp_path: Path) -> None:
    if shutil.which("qemu-img") and subprocess.run([*HIDING, "true"], capture_output=True, check=False).returncode:
        pytest.skip("there is qemu-img, and hiding it needs root")
    phimage = Phimage(tmp_path)
    with Server(phimage, "demo", "--port", "0", under=HIDING if shutil.which("qemu-img") else ()) as server:
        wait_until(lambda: "Serving until Ctrl-C." in server.output, STOP_SECONDS)
        assert "The demonstration's disk needs no conversion. Publishing others: " in server.output
        assert "apt-get install qemu-utils" in server.output
        line = commands(server.output)["download a disk, verified"]
        profiles = str(tmp_path / "phimage-demo" / "profiles.toml")
        phimage.environment["PHIMAGE_PROFILES"] = profiles
        assert phimage.well(*shlex.split(line)[1:]) == "disk.raw\n"
        assert (tmp_path / "disk.raw").read_bytes() == demo_disk.make_disk()


def test_a_second_start_keeps_the_operator_key_and_changes_the_address(tmp_path: Path) -> None:
    phimage, seen = Phimage(tmp_path), []
    phimage.environment["PHIMAGE_PROFILES"] = str(tmp_path / "phimage-demo" / "profiles.toml")
    for _ in range(2):
        with Server(phimage, "demo", "--port", "0") as server:
            (row,) = [row for row in json.loads(phimage.well("config", "ls", "--json")) if row["Profile"] == "operator"]
            assert row["Endpoint"] == server.url
            phimage.well("log", "--profile", "operator", "--json")
            seen.append(row["PublicKey"])
    assert seen[0] == seen[1]


def test_nothing_that_is_kept_can_be_read_by_others_whatever_the_umask(printed: str, demo: Server) -> None:
    kept = demo.home / "phimage-demo"
    with demonstration.client(demo.url) as client:
        url = client.call("GetPHostImageDownloadUrl", ImageId=demonstration.WITH_DISK).fields["ZstdUrl"]
    assert requests.get(url, timeout=60).status_code == 200

    assert {"catalog.sqlite-wal", "master.key", "store", "work"} <= {path.name for path in kept.iterdir()}
    assert open_to_others(kept) == []


@pytest.mark.more
def test_a_folder_that_is_not_its_own_is_refused_and_left_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "phimage-demo"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    before = folder.stat().st_mtime_ns
    result = Phimage(tmp_path).run("demo", "--once", "--port", "0")
    assert (result.code, result.out) == (78, "")
    told = "is not a folder of the demonstration: choose another with --data-dir, or remove it"
    assert result.err == f"phimage: phimage-demo {told}\n"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"thesis.txt": "precious"}
    assert folder.stat().st_mtime_ns == before
    file = Phimage(tmp_path).run("demo", "--once", "--port", "0", "--data-dir", str(folder / "thesis.txt"))
    assert (file.code, "choose another with --data-dir" in file.err) == (78, True)
    assert (folder / "thesis.txt").read_text() == "precious"


@contextmanager
def demonstrating(phimage: Phimage) -> Iterator[tuple[int, list[str]]]:
    """The revision and the images of a demonstration that is started for a moment."""
    with Server(phimage, "demo", "--port", "0") as server, demonstration.client(server.url) as client:
        answer = client.call("DescribePHostImage", Region="cn-bj2", Zone=ZONE, Limit=1000)
        assert answer.revision is not None
        yield answer.revision, answer.fields["ImageSet"]


@pytest.mark.more
def test_a_second_demonstration_on_the_same_folder_starts_again_and_changes_nothing(tmp_path: Path) -> None:
    phimage = Phimage(tmp_path)
    with demonstrating(phimage) as first:
        pass
    with demonstrating(phimage) as second, demonstrating(phimage) as beside_it:
        assert first == second == beside_it
