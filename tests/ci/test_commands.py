"""The commands `phimage ci` and `phimage ci exec`, and what tests ask of the endpoint itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from phimage.pytest import PhimageServer, PhimageWorld
from tests.ci.raw import get, listing
from tests.e2e.process import PHIMAGE, Phimage, Server, wait_until
from tests.loops import cpu_seconds, in_loops

VARIABLES = ("ENDPOINT", "PUBLIC_KEY", "PRIVATE_KEY", "REGION", "ZONE", "PROJECT")


@pytest.fixture
def phimage_command(tmp_path: Path) -> Phimage:
    return Phimage(tmp_path)


def test_a_command_runs_beside_an_endpoint_with_its_variables_and_its_exit_code_is_returned(phimage_command: Phimage) -> None:
    names = "".join(f" PHIMAGE_{name}" for name in VARIABLES)
    script = f"set -e; printenv{names}; phimage image ls --limit 1; exit 7"
    ended = phimage_command.execute("ci", "exec", "--", "sh", "-c", script)
    assert ended.code == 7, ended.err
    assert ended.out.splitlines()[0].startswith("http://127.0.0.1:")
    assert "pimg-db-m1sygy" in ended.out


@pytest.mark.more
def test_options_of_the_command_are_its_own(phimage_command: Phimage) -> None:
    assert phimage_command.execute("ci", "exec", "sh", "-c", "exit $1", "--", "3").code == 3


def test_options_of_the_endpoint_before_exec_are_not_ignored(phimage_command: Phimage) -> None:
    ended = phimage_command.execute("ci", "--seed", "seed.yaml", "exec", "--", "true")
    assert ended.code == 64
    assert "after `exec`" in ended.err


@pytest.mark.more
def test_a_command_that_a_signal_ends_has_the_code_of_shells(phimage_command: Phimage) -> None:
    assert phimage_command.execute("ci", "exec", "--", "sh", "-c", "kill -9 $$").code == 128 + signal.SIGKILL


@pytest.mark.more
def test_a_command_that_is_not_there_is_named(phimage_command: Phimage) -> None:
    ended = phimage_command.execute("ci", "exec", "--", "no-such-program")
    assert ended.code != 0
    assert "no-such-program cannot be started" in ended.err


def test_the_ready_file_is_there_when_requests_are_answered_and_gone_at_the_end(tmp_path: Path) -> None:
    ready = tmp_path / "ready.env"
    with Server(Phimage(tmp_path / "home"), "ci", "--ready-file", str(ready)) as endpoint:
        variables = dict(line.split("=", 1) for line in ready.read_text().splitlines())
        assert list(variables) == [f"PHIMAGE_{name}" for name in VARIABLES]
        assert variables["PHIMAGE_ENDPOINT"] == endpoint.url
        assert get(f"{endpoint.url}/healthz").status == 200
    assert not ready.exists()


@pytest.fixture
def _hang_ups() -> Iterator[None]:
    """Programs that are started do not ignore SIGHUP, as they would when the tests run beneath nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hang_ups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_endpoint_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    with Server(Phimage(tmp_path), "ci") as endpoint:
        PhimageServer(endpoint.url, dict.fromkeys((f"PHIMAGE_{name}" for name in VARIABLES), "")).request(
            "POST", "/ci/w/a/reset"
        )
        folders = [path for path in open_files(endpoint.pid) if "phimage-ci-" in path]
        assert folders
        endpoint.signal(number)
        endpoint.end()
    assert not any(Path(path).exists() for path in folders)


@pytest.mark.usefixtures("_hang_ups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_endpoint_that_is_ended_while_it_starts_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    seed = tmp_path / "seed.yaml"
    os.mkfifo(seed)
    starting = subprocess.Popen([PHIMAGE, "ci", "--seed", str(seed)], env=Phimage(tmp_path).environment)
    with seed.open("wb"):  # opens when the start reads it
        folders = {Path(path).parent for path in open_files(starting.pid) if "phimage-ci-" in path}
        starting.send_signal(number)
        assert starting.wait(60) == 128 + number
    assert folders
    assert not any(folder.exists() for folder in folders)


def test_an_endpoint_that_is_to_ignore_a_hang_up_does(tmp_path: Path) -> None:
    with Server(Phimage(tmp_path), "ci", under=("nohup",)) as endpoint:
        lines = Path(f"/proc/{endpoint.pid}/status").read_text().splitlines()
        (ignored,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:")]
    assert ignored & 1 << signal.SIGHUP - 1


def open_files(pid: int) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            if entry.exists():
                found.append(str(entry.readlink()))
    return found


def test_an_endpoint_ends_with_the_process_that_it_was_started_for(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "infinity"])
    endpoint = Server(Phimage(tmp_path), "ci", "--while-pid", str(sleeper.pid))
    sleeper.kill()
    sleeper.wait()
    assert endpoint.wait() == 0


def test_a_command_ends_with_the_process_that_its_endpoint_was_started_for(tmp_path: Path) -> None:
    sleeper, is_there = subprocess.Popen(["sleep", "60"]), tmp_path / "is-there"
    command = ["ci", "exec", "--while-pid", str(sleeper.pid), "--", "sh", "-c", f"touch {is_there}; exec sleep 600"]
    running = subprocess.Popen([PHIMAGE, *command], env=Phimage(tmp_path).environment)
    try:
        wait_until(is_there.exists, 60)
        sleeper.kill()
        sleeper.wait()
        assert running.wait(60) == 128 + signal.SIGTERM
    finally:
        running.terminate()
        running.wait()


def test_the_ready_file_of_an_endpoint_that_was_killed_is_gone_when_the_next_cannot_start(tmp_path: Path) -> None:
    ready = tmp_path / "ready.env"
    ready.write_text("PHIMAGE_ENDPOINT=http://127.0.0.1:9\n")
    assert Phimage(tmp_path).execute("ci", "--ready-file", str(ready), "--seed", "nowhere.yaml").code == 78
    assert not ready.exists()


@pytest.mark.more
def test_an_address_that_others_reach_must_be_allowed(phimage_command: Phimage) -> None:
    ended = phimage_command.execute("ci", "--host", "0.0.0.0")
    assert ended.code == 78
    assert "--beyond-loopback" in ended.err
    with Server(phimage_command, "ci", "--host", "0.0.0.0", "--beyond-loopback") as endpoint:
        port = urlsplit(endpoint.url).port
        assert get(f"http://127.0.0.1:{port}/ci/ready").status == 200


def control(server: PhimageServer, path: str, body: bytes = b"", method: str = "POST") -> tuple[int, dict[str, object]]:
    request = Request(f"{server.url}{path}", body if method == "POST" else None, method=method)
    try:
        response = urlopen(request)
    except HTTPError as refused:
        response = refused
    with response:
        return response.status, json.loads(response.read())


WRONG = {
    ("GET", "/ci/"): 404,
    ("GET", "/ci/w/x/everything"): 404,
    ("GET", "/ci/w/x/reset"): 405,
    ("POST", "/ci/ready"): 405,
    ("GET", "/ci/w/x/journal?since=3"): 400,
    ("DELETE", "/ci/w/-x"): 400,
}


@pytest.mark.parametrize(("request_", "status"), WRONG.items(), ids=str)
def test_what_the_endpoint_does_not_have_is_refused_with_what_it_has(
    ci_server: PhimageServer, request_: tuple[str, str], status: int
) -> None:
    method, path = request_
    answered, fields = control(ci_server, path, method=method)
    assert answered == status
    assert fields["Detail"]


HUGE = b"1" + 400 * b"0"


@pytest.mark.parametrize(
    "body",
    [
        b"[",
        b"[1]",
        b'{"advanced":"5m"}',
        b'{"advance":"soon"}',
        b'{"run":1}',
        b'{"set":"today"}',
        b'{"advance":' + HUGE + b"}",
        b'{"set":' + HUGE + b"}",
    ],
)
def test_a_body_that_cannot_be_used_is_refused_and_changes_nothing(ci_server: PhimageServer, body: bytes) -> None:
    before = control(ci_server, "/ci/w/x/clock", method="GET")
    status, fields = control(ci_server, "/ci/w/x/clock", body)
    assert status == 400
    assert fields["Detail"]
    assert control(ci_server, "/ci/w/x/clock", method="GET") == before


def test_keys_are_made_for_users_and_of_ones_choice(world: PhimageWorld) -> None:
    chosen = world.key(public="mine", private="secret")
    assert chosen == ("mine", "secret")
    for wrong, reason in (
        ({"account": "nobody"}, "no account"),
        ({"role": "king", "user": "a"}, "viewer or editor"),
        ({"role": "viewer", "user": "a", "project": "org-no"}, "no project"),
        ({"public": "mine", "private": "x"}, "cannot be used"),
    ):
        with pytest.raises(AssertionError, match=reason):
            world.key(**wrong)


def test_secrets_in_parameters_are_masked_in_the_journal(world: PhimageWorld) -> None:
    get(f"{world.url}/?{listing(world)}&private-key=do-not-show")
    assert world.journal()[0].params["private-key"] == "***"
    assert "do-not-show" not in json.dumps(world.journal())


def test_a_name_that_cannot_be_a_worlds_is_refused(ci_server: PhimageServer) -> None:
    answer = get(f"{ci_server.url}/w/..%2F..%2Fetc/")
    assert answer.status == 400
    assert "name of a world" in json.loads(answer.body)["Message"]


MEASURE = "import time; began = time.process_time(); import phimage.pytest; print(time.process_time() - began)"
IMPORT_LOOPS = 1.1
"""CPU time of the plugin's import, in that of the loop: 10 ms where it takes 9."""
FIRST_ANSWER_LOOPS = 100
"""That of a first answer: twice what it takes."""


def test_the_plugin_takes_less_than_ten_milliseconds_beside_pytest() -> None:
    command = [sys.executable, "-c", f"import pytest, subprocess, json; {MEASURE}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def taken() -> float:
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert in_loops(taken, 3) < IMPORT_LOOPS


@pytest.mark.more
def test_the_first_answer_comes_soon(tmp_path: Path) -> None:
    ready = tmp_path / "ready.env"

    def start() -> float:
        process = subprocess.Popen([PHIMAGE, "ci", "--ready-file", str(ready)], stdout=subprocess.DEVNULL)
        try:
            wait_until(ready.exists, 60)
            url = ready.read_text().splitlines()[0].partition("=")[2]
            assert get(f"{url}/?{listing(PhimageWorld(PhimageServer(url, _variables(ready)), 'default'))}").status == 200
            return cpu_seconds(process.pid)
        finally:
            process.terminate()
            process.wait()

    assert in_loops(start, 3) < FIRST_ANSWER_LOOPS


def _variables(ready: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in ready.read_text().splitlines())
