"""The agent's requests, its lease and its fences, against a server in memory."""

from __future__ import annotations

import threading

import pytest

from phimage.agent.crew import Crew, CrewStopped
from phimage.agent.errors import AgentRefused, OrderGone
from phimage.agent.given_order import GivenOrder, UnreadableOrder, read_order
from phimage.agent.order_reporter import OrderReporter
from phimage.agent.server_link import AgentKey, ServerAway, ServerLink, enroll_credential
from phimage.errors import ClientError
from phimage.http_client import ApiConnections, NoResponse
from tests.e2e.process import wait_until
from tests.unit.agent.memory import KEY, AgentServer, Answer

ORDER = GivenOrder("order-1", "deploy", 3, 60, "serial:ZA1")


def link(server: AgentServer, time: float = 1000.0) -> tuple[ServerLink, list[float]]:
    waited: list[float] = []
    now = [time]

    def pause(seconds: float) -> None:
        waited.append(seconds)
        now[0] += seconds

    return ServerLink("http://127.0.0.1:8080", server, lambda: now[0], pause), waited


def test_a_dead_clock_is_corrected_by_the_servers_time() -> None:
    def answer(number: int, fields: dict[str, str]) -> Answer:
        if abs(server.created[-1] - 1_800_000_000) > 300:
            return {"RetCode": 171, "Message": "Signature VerifyAC Error", "ServerTime": 1_800_000_000}
        return {"RetCode": 0}

    server = AgentServer(answer)
    made, waited = link(server, 0.0)
    made.call(KEY, "AgentPoll", {}, patience=0)
    made.call(KEY, "AgentPoll", {}, patience=0)
    assert server.created == [0, 1_800_000_000, 1_800_000_000]
    assert len(set(server.nonces)) == 3
    assert waited == []


def test_a_wrong_secret_is_not_tried_for_ever() -> None:
    server = AgentServer(lambda number, fields: {"RetCode": 171, "Message": "Signature VerifyAC Error"})
    with pytest.raises(AgentRefused, match="RetCode 171"):
        link(server)[0].call(KEY, "AgentPoll", {}, patience=600)
    assert len(server.got) == 2


def test_a_server_that_is_busy_or_away_is_asked_again_with_longer_pauses() -> None:
    def answer(number: int, fields: dict[str, str]) -> Answer:
        if number % 2:
            raise NoResponse("connection refused", "check that phimage runs there")
        return {"RetCode": 153 if number < 8 else 0}

    made, waited = link(AgentServer(answer))
    made.call(KEY, "AgentPoll", {}, patience=600)
    assert waited == [1, 2, 4, 8, 16, 30, 30]
    with pytest.raises(ServerAway, match="connection refused"):
        link(AgentServer(lambda number, fields: answer(1, fields)))[0].call(KEY, "AgentPoll", {}, patience=20)


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_steps_changes_no_patience(step: float) -> None:
    def answer(number: int, fields: dict[str, str]) -> Answer:
        wall[0] += step
        raise NoResponse("connection refused", "check that phimage runs there")

    wall, waited = [1_000_000.0], list[float]()
    made = ServerLink("http://127.0.0.1:8080", AgentServer(answer), lambda: wall[0], waited.append, steady=lambda: sum(waited))
    with pytest.raises(ServerAway):
        made.call(KEY, "AgentPoll", {}, patience=100)
    assert waited == [1, 2, 4, 8, 16, 30, 30]


def test_a_page_of_something_on_the_way_is_waited_for_once_the_server_has_answered() -> None:
    """A proxy that is started again may refuse in HTML: an order, and its last report, must outlive that."""
    server = AgentServer(lambda number, fields: {"RetCode": 0} if number in (1, 4) else "<html>Not Found</html>")
    made, waited = link(server)
    made.call(KEY, "AgentPoll", {}, patience=0)
    made.call(KEY, "AgentReport", {}, patience=600)
    assert waited == [1, 2]
    stranger = AgentServer(lambda number, fields: "<html>Welcome</html>")
    with pytest.raises(ClientError, match="is not phimage"):
        link(stranger)[0].call(KEY, "AgentEnroll", {}, patience=600)
    assert len(stranger.got) == 1


def test_a_lost_order_and_a_refusal_are_not_repeated() -> None:
    with pytest.raises(OrderGone):
        link(AgentServer(lambda number, fields: {"RetCode": 242}))[0].call(KEY, "AgentReport", {}, patience=600)
    with pytest.raises(AgentRefused):
        link(AgentServer(lambda number, fields: {"RetCode": 172}))[0].call(KEY, "AgentReport", {}, patience=600)


def test_a_key_does_not_cross_a_network_in_the_clear() -> None:
    for server in ("http://images.example", "http://10.0.0.1:8080", "ftp://images.example"):
        with pytest.raises(ClientError):
            ServerLink(server, ApiConnections(1), lambda: 0, lambda seconds: None)
    ServerLink("https://images.example", ApiConnections(1), lambda: 0, lambda seconds: None)
    assert enroll_credential("enrol-abc.def\n") == AgentKey("enrol-abc", "def")
    assert "def" not in repr(enroll_credential("enrol-abc.def"))
    with pytest.raises(ClientError, match="token"):
        enroll_credential("enrol-abc")


def test_lists_and_booleans_are_sent_as_the_protocol_writes_them() -> None:
    server = AgentServer(lambda number, fields: {"RetCode": 0})
    link(server)[0].call(KEY, "AgentEnroll", {"Mac": ["a", "b"], "Finished": True, "Done": 5}, patience=0)
    assert server.got == [{"Action": "AgentEnroll", "Mac.0": "a", "Mac.1": "b", "Finished": "true", "Done": "5"}]


def test_an_order_that_the_agent_does_not_understand_is_named() -> None:
    with pytest.raises(UnreadableOrder, match=r"order-9.*use the agent of the server's version"):
        read_order({"OrderId": "order-9", "Kind": "fly"})


def reporter(server: AgentServer, crew: Crew, now: list[float]) -> OrderReporter:
    return OrderReporter(link(server)[0], KEY, ORDER, crew, 0.01, lambda: now[0])


def test_reports_name_the_fence_and_every_change_of_phase() -> None:
    server = AgentServer(lambda number, fields: {"RetCode": 0, "Continue": True})
    with reporter(server, Crew(), [0.0]) as reports:
        for phase, word in (("zero", "zero"), ("read back", "read-back")):
            reports.show(phase, 5, 10)
            wait_until(lambda word=word: word in {one["Phase"] for one in list(server.got)}, 60)  # type: ignore[misc]
        reports.finish('{"Disk": 1}', rebooting=True)
    assert {(one["OrderId"], one["Fence"]) for one in server.got} == {("order-1", "3")}
    last = server.got[-1]
    assert (last["Finished"], last["Receipt"], last["Rebooting"]) == ("true", '{"Disk": 1}', "true")


def test_a_reason_has_no_characters_that_the_server_refuses() -> None:
    server = AgentServer(lambda number, fields: {"RetCode": 0, "Continue": True})
    with reporter(server, Crew(), [0.0]) as reports:
        reports.fail("disk SN\x00\n\u202e7 is busy")
    assert server.got[-1]["Error"] == "disk SN???7 is busy"


@pytest.mark.parametrize(
    "answer",
    [{"RetCode": 242, "Message": "Order lost"}, {"RetCode": 0, "Continue": False}, {"RetCode": 172}, {"RetCode": 0}],
)
def test_nothing_is_written_once_the_server_ends_the_order(answer: Answer) -> None:
    server, crew = AgentServer(lambda number, fields: answer), Crew()
    with reporter(server, crew, [0.0]) as reports:
        with pytest.raises(CrewStopped):
            crew.pause(10)
        with pytest.raises((OrderGone, AgentRefused)):
            reports.permit()
        with pytest.raises((OrderGone, AgentRefused)):
            reports.show("write", 1, 2)
        with pytest.raises((OrderGone, AgentRefused)):
            reports.finish()
    assert all("Finished" not in one for one in server.got)


def test_writing_waits_while_no_report_was_answered_for_the_length_of_the_lease() -> None:
    away, now, crew = threading.Event(), [0.0], Crew()

    def answer(number: int, fields: dict[str, str]) -> Answer:
        if away.is_set():
            raise NoResponse("connection refused", "check that phimage runs there")
        return {"RetCode": 0, "Continue": True}

    server = AgentServer(answer)
    with reporter(server, crew, now) as reports:
        reports.permit()
        away.set()
        server.reported.clear()
        assert server.reported.wait(60)
        now[0] = 61.0
        waiting = threading.Thread(target=reports.permit)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        away.clear()
        waiting.join(60)
        assert not waiting.is_alive()
        away.set()
        now[0] = 200.0
        server.reported.clear()
        server.reported.wait(60)
        crew.stop()
        with pytest.raises(CrewStopped):
            reports.permit()
