"""The processes of a server: what replaces a dead worker, what SIGHUP does, and what the service manager gets."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
import urllib3

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.process import Phimage, Server, Worker, wait_until, wait_until_read
from tests.e2e.test_health import measures as metrics_of

SOON = 60.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CLIENTS = 4


class Load:
    """Clients that keep their connections, send a request at a time, and send it once more when its connection breaks."""

    def __init__(self, server: Server) -> None:
        key = server.new_key
        assert key is not None
        with Client(server.url, key.public, PrivateKey(key.private)) as client:
            self._body = urlencode(client.signed("GetRegion"))
        self._address = urlsplit(server.url).netloc
        self._over = threading.Event()
        self._counting = threading.Lock()
        self.answered = 0
        self.sent_again = 0
        self.failures: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=SOON)
        while not self._over.is_set():
            try:
                self._ask(connection)
            except (OSError, http.client.HTTPException):
                with self._counting:
                    self.sent_again += 1
                connection.close()
                try:
                    self._ask(connection)
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(repr(error))
                    connection.close()
            time.sleep(0.002)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        connection.request("POST", "/", body=self._body, headers=FORM)
        answer = connection.getresponse().read()
        if b'"RetCode":0' in answer:
            with self._counting:
                self.answered += 1
        else:
            self.failures.append(answer.decode())


def alive(server: Server) -> list[Worker]:
    return [worker for worker in server.workers() if worker.alive()]


def serve(home: Phimage, *arguments: str) -> Server:
    return Server(home, "serve", "--port", "0", "--data-dir", "data", *arguments)


def reloads(server: Server) -> int:
    return server.errors.count('"reload.done"')


@pytest.mark.parametrize(
    "kills", [1, pytest.param(5, marks=pytest.mark.more), pytest.param(100, marks=[pytest.mark.more, pytest.mark.torture])]
)
def test_a_killed_worker_is_replaced_and_requests_go_on(tmp_path: Path, kills: int) -> None:
    with serve(Phimage(tmp_path, PHIMAGE_MAX_WORKER_DEATHS="1000"), "--workers", "2") as server:
        load = Load(server)
        with load.running():
            for _ in range(kills):
                before = alive(server)
                os.kill(before[0].pid, signal.SIGKILL)
                wait_until(lambda before=before: not before[0].alive() and len(alive(server)) == 2, SOON)  # type: ignore[misc]
                answered = load.answered
                wait_until(lambda answered=answered: load.answered > answered + 50, SOON)  # type: ignore[misc]
        assert load.answered > 50 * kills
        assert len(load.failures) <= load.answered / 1000, load.failures


@pytest.mark.more
def test_what_a_dead_worker_counted_stays_counted(tmp_path: Path) -> None:
    name = 'phimage_requests_total{action="GetRegion",ret_code="0"}'
    with serve(Phimage(tmp_path, PHIMAGE_MAX_WORKER_DEATHS="1000"), "--workers", "2") as server:

        def told_without(worker: Worker) -> float:
            """What the other worker tells: of this one, what it has written for the others."""
            os.kill(worker.pid, signal.SIGSTOP)
            try:
                wait_until(lambda: worker.stopped() or not worker.alive(), SOON)
                return metrics_of(server.url).get(name, 0)
            finally:
                os.kill(worker.pid, signal.SIGCONT)

        load = Load(server)
        with load.running():
            wait_until(lambda: load.answered > 100, SOON)
        wait_until(lambda: metrics_of(server.url).get(name) == load.answered, SOON)
        for number in range(4):
            before = alive(server)
            wait_until(lambda before=before: told_without(before[0]) == load.answered, SOON)  # type: ignore[misc]
            if number == 3:
                server.signal(signal.SIGHUP)
            else:
                os.kill(before[0].pid, signal.SIGKILL)
            wait_until(lambda before=before: not before[0].alive() and len(alive(server)) == 2, SOON)  # type: ignore[misc]
            assert metrics_of(server.url)[name] == load.answered
            wait_until(lambda: metrics_of(server.url)["phimage_workers"] == 2, SOON)


@pytest.mark.parametrize("kind", ["worker", pytest.param("publisher", marks=pytest.mark.more)])
def test_a_process_that_cannot_be_started_is_started_later_and_the_others_go_on(tmp_path: Path, kind: str) -> None:
    with serve(Phimage(tmp_path, PHIMAGE_PUBLISHERS="1"), "--workers", "2") as server:
        wait_until(lambda: len(publishers(server)) == 1, SOON)
        files = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (1, files[1]))  # no pipe to a new process can be made
        before = alive(server)
        killed = next(each for each in before if (each.pid in publishers(server)) == (kind == "publisher"))
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: server.errors.count(f'"{kind}.not_started"') > 1, SOON)
        assert [each for each in before if each.alive()] == [each for each in before if each != killed]
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, files)
        wait_until(lambda: len(alive(server)) == 3, SOON)
        wait_until(lambda: metrics_of(server.url)["phimage_workers"] == 2, SOON)


def publishers(server: Server) -> list[int]:
    """The numbers of its publisher processes."""
    commands: dict[int, bytes] = {}
    for worker in alive(server):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            commands[worker.pid] = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    return [pid for pid, command in commands.items() if b"\0publisher\0" in command]


def test_workers_that_die_one_after_the_other_end_the_server(tmp_path: Path) -> None:
    with serve(Phimage(tmp_path), "--workers", "2") as server:
        for _ in range(3):
            wait_until(lambda: len(alive(server)) == 2, SOON)
            killed = alive(server)[0]
            os.kill(killed.pid, signal.SIGKILL)
            wait_until(lambda killed=killed: not killed.alive(), SOON)  # type: ignore[misc]
        assert server.wait() == 70
        assert "phimage: 3 server processes died within 60 s, the last with status -9: see the log" in server.errors


@pytest.mark.parametrize(
    "times", [1, pytest.param(5, marks=pytest.mark.more), pytest.param(100, marks=[pytest.mark.more, pytest.mark.torture])]
)
def test_a_hang_up_replaces_the_workers_and_refuses_no_request(tmp_path: Path, times: int) -> None:
    with serve(Phimage(tmp_path), "--workers", "2") as server:
        load = Load(server)
        first, resident = alive(server), 0.0
        with load.running():
            for number in range(times):
                answered = load.answered
                server.signal(signal.SIGHUP)
                wait_until(lambda number=number: reloads(server) == number + 1, SOON)  # type: ignore[misc]
                wait_until(lambda answered=answered: load.answered > answered + 100, SOON)  # type: ignore[misc]
                if number == min(5, times - 1):
                    resident = memory_of(server)
        assert load.failures == []
        assert load.sent_again == 0
        wait_until(lambda: not any(worker.alive() for worker in first), SOON)
        wait_until(lambda: len(alive(server)) == 2, SOON)
        assert memory_of(server) < resident + (20 << 20)


def memory_of(server: Server) -> int:
    """Resident bytes of the main process."""
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_hang_up_reads_the_settings_again(tmp_path: Path) -> None:
    home, file = Phimage(tmp_path), tmp_path / "phimage.toml"
    file.write_text('data_dir = "data"\nworkers = 1\nmax_limit = 10\ndefault_limit = 5\n')
    with Server(home, "serve", "--port", "0", "--config", str(file)) as server:

        def document() -> bytes:
            return urllib3.request("GET", f"{server.url}/openapi.json", retries=False, timeout=SOON).data

        before = document()
        file.write_text('data_dir = "elsewhere"\nworkers = 2\nmax_limit = 77\ndefault_limit = 5\n')
        server.signal(signal.SIGHUP)
        wait_until(lambda: reloads(server) == 1, SOON)
        wait_until(lambda: len(alive(server)) == 2, SOON)
        assert document() != before
        assert b"77" in document()
        assert '"settings": ["data_dir"], "event": "reload.needs_restart"' in server.errors
        assert not (tmp_path / "elsewhere").exists()

        file.write_text("max_limit = 'many'\n")
        server.signal(signal.SIGHUP)
        wait_until(lambda: '"reload.failed"' in server.errors, SOON)
        assert f"{file}: max_limit" in server.errors
        assert b"77" in document()
        assert len(alive(server)) == 2


@pytest.mark.more
def test_a_request_that_is_under_way_survives_a_hang_up(tmp_path: Path) -> None:
    with serve(Phimage(tmp_path, PHIMAGE_BODY_SECONDS="600")) as server, ExitStack() as stack:
        [old] = alive(server)
        waiting = stack.enter_context(socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=SOON))
        waiting.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab")  # a request that is under way
        wait_until_read(server.url, 1)
        server.signal(signal.SIGHUP)
        wait_until(lambda: reloads(server) == 1, SOON)
        time.sleep(2)
        waiting.sendall(b"c")
        answer = b""
        while part := waiting.recv(10_000):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
        wait_until(lambda: not old.alive(), SOON)


@pytest.mark.more
def test_publishers_go_on_through_a_hang_up_unless_their_settings_change(tmp_path: Path) -> None:
    home, file = Phimage(tmp_path, PHIMAGE_PUBLISHERS="1"), tmp_path / "phimage.toml"
    file.write_text('data_dir = "data"\n')

    with Server(home, "serve", "--port", "0", "--config", str(file)) as server:
        wait_until(lambda: len(publishers(server)) == 1, SOON)
        first = publishers(server)
        file.write_text('data_dir = "data"\nmax_limit = 50\n')
        server.signal(signal.SIGHUP)
        wait_until(lambda: reloads(server) == 1, SOON)
        assert publishers(server) == first
        file.write_text('data_dir = "data"\nmax_disk_gb = 3\n')
        server.signal(signal.SIGHUP)
        wait_until(lambda: reloads(server) == 2, SOON)
        wait_until(lambda: len(publishers(server)) == 1 and publishers(server) != first, SOON)


def test_the_service_manager_is_notified(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SOON)
        home = Phimage(tmp_path / "home", NOTIFY_SOCKET=str(tmp_path / "notify"))
        with serve(home) as server:
            assert manager.recv(1000) == b"READY=1"
            server.signal(signal.SIGHUP)
            state, _, time_of_it = manager.recv(1000).partition(b"\nMONOTONIC_USEC=")
            assert state == b"RELOADING=1"
            assert 0 < int(time_of_it) <= time.monotonic_ns() // 1000
            assert manager.recv(1000) == b"READY=1"
        assert manager.recv(1000) == b"STOPPING=1"
