"""`phimage demo`: what it prints works as pasted, and it leaves alone what is not its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
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


def section(printed: str, title: str) -> str:
    found = re.search(rf"^── {title} ──\n(.*?)\n\n(?=──|Serving|\Z)", printed, re.DOTALL | re.MULTILINE)
    assert found is not None, printed
    return found.group(1)


def test_the_demonstration_lists_images_and_ends_well_when_asked_to_run_once(tmp_path: Path) -> None:
    result = Phimage(tmp_path).run("demo", "--once", "--port", "0")
    assert result.code == 0
    assert result.out.startswith("listening on http://127.0.0.1:")
    rows = naive.listed()
    for row in rows[:20]:
        start = rf"^{row['ImageId']} +{row['ImageType']} +{row['State']} +\d{{4}}-\d\d-\d\d +"
        assert re.search(start + re.escape(row["ImageName"]), result.out, re.MULTILINE)
    assert f"20 of {len(rows)} images\n" in result.out
    for title in ("With curl", "Download the demonstration disk", "With the Python SDK", "With Terraform"):
        assert section(result.out, title)
    assert result.err == ""
    assert (tmp_path / "phimage-demo" / "master.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "phimage-demo").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_curl_line_answers_as_pasted_into_a_shell(printed: str) -> None:
    line = section(printed, "With curl")
    assert "\n" not in line
    ended = subprocess.run(["sh", "-c", line], capture_output=True, encoding="utf-8", timeout=30, check=True)
    answer = json.loads(ended.stdout)
    assert answer["RetCode"] == 0
    assert [row["ImageId"] for row in answer["ImageSet"]] == [row["ImageId"] for row in naive.listed()[:3]]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_demonstration_disk_is_downloaded_and_verified_as_pasted_into_a_shell(printed: str, tmp_path: Path) -> None:
    lines = section(printed, "Download the demonstration disk")
    shell = ["bash", "-eo", "pipefail", "-c", lines]
    ended = subprocess.run(shell, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=30, check=True)
    [file] = tmp_path.iterdir()
    assert ended.stdout == f"{file.name}: OK\n"
    assert file.read_bytes() == demo_disk.make_disk()


def test_nothing_that_is_kept_can_be_read_by_others_whatever_the_umask(printed: str, demo: Server) -> None:
    kept = demo.home / "phimage-demo"
    with demonstration.client(demo.url) as client:
        url = client.call("GetPHostImageDownloadUrl", ImageId=demonstration.WITH_DISK).fields["ZstdUrl"]
    assert requests.get(url, timeout=30).status_code == 200
    wait_until(lambda: any((kept / "packs").glob("*.zst")), 30)

    assert {"catalog.sqlite-wal", "master.key", "packs", "store", "work"} <= {path.name for path in kept.iterdir()}
    assert open_to_others(kept) == []


def test_the_python_program_lists_images_as_pasted(printed: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-"],
        input=section(printed, "With the Python SDK"),
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=True,
    )
    rows = [f"{row['ImageId']} {row['ImageName']} {row['Support']}" for row in naive.listed()[:20]]
    assert ended.stdout.splitlines() == rows
    assert "Traceback" not in ended.stderr


def test_the_terraform_configuration_is_whole_and_reads_more_than_one_page(printed: str, demo: Server) -> None:
    text = section(printed, "With Terraform")
    assert text.count("{") == text.count("}") > 4
    assert re.findall(r"^(\w+)(?: \"(\w+)\")?", text, re.MULTILINE) == [
        ("terraform", ""),
        ("provider", "ucloud"),
        ("data", "ucloud_baremetal_images"),
        ("output", "images"),
    ]
    settings = dict(re.findall(r"^  (\w+) += \"(.*)\"$", text, re.MULTILINE))
    assert settings["base_url"] == f"{demo.url}/limit/1000"
    # What the provider then sends: no Limit, and every filter but the zone is its own.
    with demonstration.client(settings["base_url"]) as client:
        params = {"Region": settings["region"], "ProjectId": settings["project_id"], "Zone": settings["availability_zone"]}
        images = client.call("DescribePHostImage", **params).fields["ImageSet"]
    assert len(images) == len(naive.listed()) > 20
    assert any(image["OsType"] == settings["os_type"] for image in images)


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
