"""The plugin in runs of pytest of its own: with fixtures, a marker, workers, and hundreds of tests in any order."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.e2e.process import wait_until

SECONDS = 300
PLUGIN = () if any(each.name == "phimage" for each in entry_points(group="pytest11")) else ("-p", "phimage.pytest")

TESTS = '''
import json
import pytest
from urllib.request import urlopen

SEED = """
phimage: 1
accounts:
  - id: acme
    projects: [{id: org-acme, default: true}]
    users: [{name: main, main: true, keys: [{public: acme, private: acme}]}]
"""


def test_retries(phimage):
    phimage.fault("ret-153", action="DescribePHostImage", first=2)
    for _ in range(3):
        try:
            phimage.client().uphost().describe_phost_image({"Zone": phimage.zone})
        except Exception as error:
            assert error.code == 153
    assert [call.ret_code for call in phimage.journal("DescribePHostImage")] == [153, 153, 0]
    phimage.clock.advance(minutes=5)


def test_the_operator(phimage):
    assert phimage.operator.call("ListAccounts").fields["AccountSet"]


@pytest.mark.phimage_seed(SEED)
def test_a_seed(phimage):
    assert "acme" in json.dumps(phimage.operator.call("ListAccounts").fields)


@pytest.mark.phimage_seed("seed.yaml")
@pytest.mark.parametrize("name", ["a/b", "ü:x", ""])
def test_a_seed_file(phimage, name):
    assert "acme" in json.dumps(phimage.operator.call("ListAccounts").fields)


def test_one_endpoint(phimage, phimage_server, phimage_file):
    phimage_file.write_text(phimage_server.url)
'''

CONFTEST = """
import os, pathlib, random, pytest

@pytest.fixture
def phimage_file(request):
    return pathlib.Path(os.environ["URLS"]) / getattr(request.config, "workerinput", {"workerid": "alone"})["workerid"]

def pytest_collection_modifyitems(items):
    random.Random(os.environ.get("ORDER", "0")).shuffle(items)
"""

LEAKS = """
import pytest
from phimage.errors import Refused

MAKE = {"OsType": "Ubuntu", "OsName": "Ubuntu 22.04", "Zone": ["cn-bj2-02"], "Support": ["DB-2"], "ImageType": "Base",
        "TrustFirstUse": True}


@pytest.mark.parametrize("number", range(200))
def test_sees_its_own_world_alone(phimage, number):
    assert phimage.journal() == []
    assert phimage.state()["faults"] == []
    assert phimage.clock.now.isoformat() == "2027-01-01T00:00:00+00:00"
    revision = phimage.state()["revision"]
    phimage.fault("ret-150", action="PublishPHostImage", first=1)
    with phimage.operator as operator:
        with pytest.raises(Refused):
            operator.call("PublishPHostImage", Name=f"n{number}", **MAKE)
        image = operator.call("PublishPHostImage", Name=f"n{number}", **MAKE).fields["ImageId"]
        assert operator.call("GetPHostImage", ImageId=image).fields["Image"]["ImageName"] == f"n{number}"
    phimage.clock.advance(minutes=number % 50)
    assert phimage.state()["revision"] == revision + 1
    assert [call.ret_code for call in phimage.journal("PublishPHostImage")] == [150, 0]
    made = [each for each in phimage.state()["images"] if each["state"] == "Making" and not each["project"]]
    assert len(made) == 1
"""


def run(folder: Path, text: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text, "utf-8")
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "seed.yaml").write_text(text.partition('"""')[2].partition('"""')[0], "utf-8")
    (folder / "urls").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pytest", *PLUGIN, "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", *arguments]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PHIMAGE_"))}
    environment = {**inherited, "URLS": str(folder / "urls"), **variables}
    folders = () if "no:tmpdir" in arguments else ("--basetemp", str(folder / "base"))
    base = (*folders, "-c", os.devnull, "--rootdir", str(folder), str(folder / "test_it.py"))
    return subprocess.run(
        [*command, *base], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def urls(folder: Path) -> list[str]:
    return sorted({path.read_text() for path in (folder / "urls").iterdir()})


def test_the_project_declares_the_plugin() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert '[project.entry-points.pytest11]\nphimage = "phimage.pytest"\n' in text


def test_fixtures_give_a_world_with_faults_a_clock_a_journal_and_seeds(tmp_path: Path) -> None:
    ended = run(tmp_path, TESTS)
    assert ended.returncode == 0, ended.stdout
    assert "7 passed" in ended.stdout
    assert len(urls(tmp_path)) == 1
    assert not is_answering(urls(tmp_path)[0])


@pytest.mark.more
def test_workers_share_one_endpoint_which_ends_with_the_run(tmp_path: Path) -> None:
    once = "@pytest.mark.parametrize('at', range(8))\ndef test_one_endpoint(phimage, phimage_server, phimage_file, at):"
    text = TESTS.replace("def test_one_endpoint(phimage, phimage_server, phimage_file):", once)
    ended = run(tmp_path, text, "-n", "2")
    assert ended.returncode == 0, ended.stdout
    assert len(list((tmp_path / "urls").iterdir())) == 2
    assert len(urls(tmp_path)) == 1
    wait_until(lambda: not is_answering(urls(tmp_path)[0]), 60)


def is_answering(url: str) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5):
        return True
    return False


@pytest.mark.more
def test_two_hundred_tests_in_any_order_on_four_workers_see_nothing_of_each_other(tmp_path: Path) -> None:
    ended = run(tmp_path, LEAKS, "-n", "4", ORDER=str(os.getpid()))
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "200 passed" in ended.stdout


@pytest.mark.more
def test_kept_worlds_are_there_after_the_run(tmp_path: Path) -> None:
    ended = run(tmp_path, TESTS, "--phimage-keep", "-k", "one_endpoint")
    url = urls(tmp_path)[0]
    try:
        assert ended.returncode == 0, ended.stdout
        assert f"kept at {url}" in ended.stdout
        assert is_answering(url)
    finally:
        pid = int(re.findall(r"process (\d+)", ended.stdout)[0])
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_answering(url), 60)


def test_a_run_without_folders_for_temporary_files_is_not_disturbed(tmp_path: Path) -> None:
    ended = run(tmp_path, "def test_nothing(): pass", "-p", "no:tmpdir")
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0


TWICE = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(2):  # as plugins do that repeat a test
        item._initrequest()
        runtestprotocol(item, nextitem=nextitem)
    return True
"""


def test_a_test_that_is_repeated_begins_with_a_new_world_although_its_worlds_are_kept(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    ended = run(tmp_path, FIRST, "-p", "twice", "--phimage-keep", PYTHONPATH=str(tmp_path))
    os.kill(int(re.findall(r"process (\d+)", ended.stdout)[0]), signal.SIGTERM)
    assert "2 passed" in ended.stdout, ended.stdout


FIRST = """
def test_is_the_first(phimage):
    assert phimage.state()["faults"] == []
    phimage.fault("ret-153")
"""


@pytest.mark.more
def test_an_endpoint_that_cannot_start_fails_the_tests_with_its_reason(tmp_path: Path) -> None:
    ended = run(tmp_path, TESTS, "--phimage-seed", "nowhere.yaml", "-k", "retries")
    assert ended.returncode == 1
    assert "nowhere.yaml" in ended.stdout
    assert "cannot be read" in ended.stdout
