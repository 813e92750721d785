"""Worlds: nothing that happens in one is seen in another, and two runs from one seed are the same."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

import pytest

from phimage.actions.feed import MAX_WAIT
from phimage.chunks.layout import manifest_name
from phimage.ci.own_requests import OwnRequests
from phimage.ci.start import make_start
from phimage.ci.values import BadControl
from phimage.ci.world import World
from phimage.ci.worlds import Worlds
from phimage.client import Client
from phimage.errors import Refused
from phimage.metrics.shared import SharedMetrics
from phimage.model.account import PrivateKey
from phimage.pytest import PhimageServer, PhimageWorld
from tests.ci.conftest import server_of
from tests.ci.raw import SECONDS, get, listing, signed
from tests.ci.test_faults import DISK, PUBLISH
from tests.e2e.process import Phimage, Server, wait_until
from tests.loops import cpu_seconds, in_loops

MAKING = "name: a, os_type: a, os_name: a, size: 1, state: Making, created: '2026-12-31T23:00:00Z'"
RESET_LOOPS = 2.5
"""CPU time of a reset, in that of the loop."""
KEPT = 1.10
"""How much memory may be used after a thousand worlds, of that after a hundred."""


def total(world: PhimageWorld) -> int:
    return int(json.loads(get(f"{world.url}/?{listing(world)}").body)["TotalCount"])


def test_worlds_see_nothing_of_each_other(ci_server: PhimageServer) -> None:
    one, other = PhimageWorld(ci_server, "one"), PhimageWorld(ci_server, "other")
    for world in (one, other):
        world.reset()
    with one.operator as operator:
        operator.call("PublishPHostImage", **PUBLISH)
    one.fault("ret-153")
    one.clock.advance(hours=1)
    assert other.state()["revision"] == one.state()["revision"] - 1
    assert other.state()["faults"] == []
    assert other.clock.now < one.clock.now
    assert other.journal() == []
    assert total(other) > 25


def test_a_ticket_of_one_world_is_refused_in_another(ci_server: PhimageServer) -> None:
    one, other = PhimageWorld(ci_server, "mine"), PhimageWorld(ci_server, "yours")
    url = one.client().invoke("GetPHostImageDownloadUrl", {"ImageId": DISK})["Sha256Url"]
    assert url.startswith(f"{one.url}/images/")
    assert get(url).status == 200
    refused = get(url.replace("/w/mine/", "/w/yours/"))
    assert (refused.status, json.loads(refused.body)["Reason"]) == (401, "altered")
    assert other.journal("images")[0].status == 401


@pytest.mark.parametrize("ending", ["reset", "DELETE"])
def test_a_ticket_of_a_world_before_its_end_is_refused_in_the_next_of_its_name(
    ci_server: PhimageServer, world: PhimageWorld, ending: str
) -> None:
    url = world.client().invoke("GetPHostImageDownloadUrl", {"ImageId": DISK})["Sha256Url"]
    assert get(url).status == 200
    if ending == "reset":
        world.reset()
    else:
        ci_server.request("DELETE", f"/ci/w/{world.name}")
    refused = get(url)
    assert (refused.status, json.loads(refused.body)["Reason"]) == (401, "altered")


def test_a_path_without_a_world_is_the_default_one(ci_server: PhimageServer) -> None:
    world = PhimageWorld(ci_server, "default")
    world.reset()
    assert json.loads(get(f"{ci_server.url}/?{listing(world)}").body)["RetCode"] == 0
    assert [call.action for call in world.journal()] == ["DescribePHostImage"]


def test_a_reset_takes_everything_back_and_a_key_made_before_is_unknown(world: PhimageWorld) -> None:
    keys = world.key(user="bob", role="viewer", project="org-default")
    query = signed(keys, "DescribePHostImage", Region=world.region, Zone=world.zone, ProjectId="org-default")
    world.clock.advance(days=1)
    world.fault("delay-1ms")
    assert json.loads(get(f"{world.url}/?{query}").body)["RetCode"] == 0
    before = world.clock.now
    world.reset()
    assert world.clock.now < before
    assert world.journal() == []
    assert world.state()["faults"] == []
    assert json.loads(get(f"{world.url}/?{query}").body)["RetCode"] == 172


def test_roles_and_versions_of_signatures_are_those_of_production(world: PhimageWorld) -> None:
    viewer = world.key(user="bob", role="viewer", project="org-default")
    answer = get(f"{world.url}/?{signed(world.keys, 'PublishPHostImage', **PUBLISH)}")
    assert json.loads(answer.body)["RetCode"] == 299
    with Client(world.url, viewer.public, PrivateKey(viewer.private)) as client, pytest.raises(Refused) as refused:
        client.call("PublishPHostImage", **{**PUBLISH, "ImageType": "Custom", "ProjectId": "org-default"})
    assert refused.value.ret_code == 299
    assert world.state()["revision"] == 6  # the key and the role alone


def test_a_signed_request_cannot_be_sent_again_however_far_the_clock_is_moved(world: PhimageWorld) -> None:
    with world.operator as operator:
        request = operator.prepare("PublishPHostImage", **PUBLISH)
        codes = []
        for _ in range(2):
            codes.append(post(request.url, request.headers, request.body)["RetCode"])
            world.clock.advance(days=1)
    assert codes == [0, 171]


def post(url: str, headers: dict[str, str], body: bytes) -> dict[str, object]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80), SECONDS) as connection:
        lines = [f"POST {parts.path}?{parts.query}".rstrip("?") + " HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
    found: dict[str, object] = json.loads(received.partition(b"\r\n\r\n")[2])
    return found


@pytest.fixture
def two_runs(tmp_path: Path) -> Iterator[tuple[PhimageServer, PhimageServer]]:
    first, second = Phimage(tmp_path / "first"), Phimage(tmp_path / "second")
    with Server(first, "ci", "--random-seed", "7") as one, Server(second, "ci", "--random-seed", "7") as two:
        yield server_of(one), server_of(two)


def transcript(server: PhimageServer) -> list[bytes]:
    """What arrives for some calls, without the field Date and the port."""
    world = PhimageWorld(server, "same")
    PhimageWorld(server, "noise").key()  # what other worlds do changes nothing
    answers = [get(f"{world.url}/?{listing(world, Limit=2)}").data]
    keys = [world.key(user=name) for name in ("a", "b")]
    answers += [get(f"{world.url}/?{signed(pair, 'GetProjectList')}").data for pair in keys]
    answers.append(get(f"{world.url}/?{signed(world.keys, 'GetPHostImageDownloadUrl', ImageId=DISK)}").data)
    with world.operator as operator:
        made = operator.call("PublishPHostImage", **PUBLISH)
        answers += [repr(made).encode(), repr(operator.call("GetPHostImage", ImageId=made.fields["ImageId"])).encode()]
    answers.append(repr([keys, world.state(), world.journal()]).encode())
    address = urlsplit(server.url).netloc  # its port alone could be part of another number
    shown = [answer.replace(address.encode(), b"ADDRESS").replace(quote(address).encode(), b"ADDRESS") for answer in answers]
    return [b"\r\n".join(line for line in each.split(b"\r\n") if not line.startswith(b"date:")) for each in shown]


def test_two_runs_from_one_seed_answer_the_same_but_for_the_date(two_runs: tuple[PhimageServer, PhimageServer]) -> None:
    first, second = (transcript(server) for server in two_runs)
    assert first == second
    assert b"x-ucloud-request-uuid" in first[0]


@pytest.mark.more
def test_another_seed_gives_other_ids(ci_server: PhimageServer, tmp_path: Path) -> None:
    with Server(Phimage(tmp_path), "ci", "--random-seed", "8") as other:
        keys = [PhimageWorld(server, "ids").key() for server in (ci_server, server_of(other))]
    assert keys[0] != keys[1]


def test_a_reset_takes_little_time(endpoint: Server, world: PhimageWorld) -> None:
    def reset() -> float:
        before = cpu_seconds(endpoint.pid)
        for _ in range(5):
            world.reset()
        return (cpu_seconds(endpoint.pid) - before) / 5

    reset()
    assert in_loops(reset, 11) <= RESET_LOOPS


@pytest.mark.more
def test_a_thousand_worlds_leave_no_memory_behind(tmp_path: Path) -> None:
    with Server(Phimage(tmp_path), "ci") as endpoint:
        server = server_of(endpoint)
        use_worlds(server, 100)
        after_a_hundred = used(endpoint.pid)
        use_worlds(server, 1000)
        assert used(endpoint.pid) <= KEPT * after_a_hundred
        assert server.request("GET", "/ci/ready")["worlds"] == []


def use_worlds(server: PhimageServer, number: int) -> None:
    for at in range(number):
        world = PhimageWorld(server, f"w{at}")
        assert total(world) > 25
        world.tell("key", user="bob")
        server.request("DELETE", f"/ci/w/{world.name}")


def used(pid: int) -> int:
    """The memory of a process, of which a system short of memory may have moved some to a disk. Files can be read again."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "VmSwap:")))


def test_worlds_need_more_files_than_a_shell_allows(tmp_path: Path) -> None:
    with Server(Phimage(tmp_path), "ci", under=("bash", "-c", 'ulimit -S -n 64; exec "$@"', "-")) as endpoint:
        server = server_of(endpoint)
        assert all(total(PhimageWorld(server, f"w{number}")) > 25 for number in range(40))


def test_there_are_not_more_worlds_than_memory_for_them(tmp_path: Path) -> None:
    worlds = Worlds(make_start((), "0", tmp_path), tmp_path, max_worlds=2)
    for name in ("one", "two"):
        worlds.get(name)
    with pytest.raises(BadControl, match="there are 2 worlds already: end those that are no longer needed"):
        worlds.get("three")
    assert worlds.get("two").name == "two"
    worlds.drop("one")
    assert worlds.get("three").name == "three"
    worlds.close()


def test_a_world_can_be_dropped_while_it_answers(ci_server: PhimageServer) -> None:
    world = PhimageWorld(ci_server, "dropped")
    parts = urlsplit(world.url_with("delay-200ms"))
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80), SECONDS) as connection:
        connection.sendall(f"GET {parts.path}/?{listing(world)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: world.name in ci_server.request("GET", "/ci/ready")["worlds"], SECONDS)
        ci_server.request("DELETE", f"/ci/w/{world.name}")
        received = b""
        while b"\r\n" not in received:
            received += connection.recv(1 << 16) or b"\r\n"
        assert received.startswith(b"HTTP/1.1 ")
    assert total(PhimageWorld(ci_server, "dropped")) > 25


def test_a_long_poll_ends_with_a_change_of_its_world_and_with_the_world_itself(tmp_path: Path) -> None:
    worlds = Worlds(make_start((), "0", tmp_path), tmp_path)

    async def call(world: World, action: str, **params: Any) -> dict[str, Any]:
        operator, requests = worlds.start.operator, OwnRequests(world.app, asyncio.get_running_loop())
        return await asyncio.to_thread(requests.call, action, operator.public, operator.private, **params)

    async def poll(world: World, after: int) -> dict[str, Any]:
        return await call(world, "ListPHostImageChanges", After=after, Wait=MAX_WAIT)

    async def poll_three() -> None:
        some = {name: worlds.get(name) for name in ("quiet", "changed", "dropped")}
        waiting = {name: asyncio.create_task(poll(world, world.catalog.head)) for name, world in some.items()}
        try:
            await call(some["changed"], "PublishPHostImage", **PUBLISH)
            done, _ = await asyncio.wait(waiting.values(), return_when=asyncio.FIRST_COMPLETED)
            assert done == {waiting["changed"]}
            worlds.drop("dropped")
            del waiting["changed"]
            done, _ = await asyncio.wait(waiting.values(), return_when=asyncio.FIRST_COMPLETED)
            assert done == {waiting["dropped"]}
        finally:
            worlds.close()
            await asyncio.gather(*waiting.values(), return_exceptions=True)

    asyncio.run(poll_three())


class SeenBeside(bytes):
    """An answer during whose reading a thread settles the world."""

    world: World

    def __contains__(self, _id: object) -> bool:
        self.world.publisher.settle()
        return False


def test_an_answer_is_looked_at_while_a_thread_claims_another_job(tmp_path: Path) -> None:
    world = World("busy", make_start((), "0", tmp_path), tmp_path / "1", SharedMetrics().claim())
    for id in ("pimg-os-first", "pimg-os-second"):
        world.plant(f"phimage: 1\nimages: [{{id: {id}, project: org-default, {MAKING}}}]\n")
        if id == "pimg-os-first":
            world.publisher.settle()
    answer = SeenBeside()
    answer.world = world
    world.look(answer)
    world.close()


class Meeting:
    """A lock whose first holder leaves it when a second one has come, which gets it when `is_done` is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_held, self._has_come, self.is_done = threading.Event(), threading.Event(), threading.Event()

    def __enter__(self) -> None:
        if self._lock.acquire(blocking=False) and not self._is_held.is_set():
            self._is_held.set()
            return
        self._has_come.set()
        assert self.is_done.wait(SECONDS)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        assert self._has_come.wait(SECONDS)
        self._lock.release()

    def wait(self) -> None:
        """Wait until it is held."""
        assert self._is_held.wait(SECONDS)


def test_a_first_request_beside_another_one_takes_back_nothing_that_it_did(tmp_path: Path) -> None:
    start, meeting = make_start((), "0", tmp_path), Meeting()
    start.lock = cast("threading.Lock", meeting)
    world = World("met", start, tmp_path / "1", SharedMetrics().claim())
    name = manifest_name(start.demo_bytes.manifest)
    with ThreadPoolExecutor(2) as pool:
        deletion = pool.submit(world.store.delete, name)
        meeting.wait()
        search = pool.submit(world.store.find, name)
        deletion.result(SECONDS)
        meeting.is_done.set()
        assert search.result(SECONDS) is None
    world.close()


class BusyWorld(World):
    """A world that is not done before it may go on."""

    may_go_on: threading.Event

    def settle(self, loop: asyncio.AbstractEventLoop) -> None:
        self.may_go_on.wait(120)


def test_a_busy_world_leaves_threads_to_the_others(tmp_path: Path) -> None:
    start, slot, requests = make_start((), "0", tmp_path), SharedMetrics().claim(), 100

    async def settle_both() -> None:
        busy, other = BusyWorld("busy", start, tmp_path / "1", slot), World("other", start, tmp_path / "2", slot)
        busy.may_go_on = threading.Event()
        loop = asyncio.get_running_loop()
        waiting = [asyncio.create_task(busy.in_turn(busy.settle, loop)) for _ in range(requests)]
        await asyncio.sleep(0)
        try:
            await asyncio.wait_for(other.in_turn(other.settle, loop), 60)
        finally:
            busy.may_go_on.set()
            await asyncio.gather(*waiting)
            busy.close()
            other.close()

    asyncio.run(settle_both())
