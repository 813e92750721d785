"""The same bytes are answered again (T30), and each time by what holds then: who was allowed before may not be now."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from tests.api import small
from tests.api.conftest import Start
from tests.api.gateway import Gateway
from tests.api.signer import FORM, JSON, Encoding, Pair, Params, Request, signed
from tests.sites import Site

LIST = "DescribePHostImage"
NORTH_A: Params = {"Region": "north", "Zone": "north-a"}


def operate(gateway: Gateway, action: str, params: Params) -> None:
    assert gateway.ask(action, params, pair=small.OPERATOR).ret_code == 0


def codes_around(gateway: Gateway, request: Request, action: str, params: Params, client: str = "127.0.0.1") -> list[int]:
    """RetCodes of a request that is sent twice, then after the operator changed something, twice as well."""
    before = [gateway.replay(request, client=client).ret_code for _ in range(2)]
    operate(gateway, action, params)
    return before + [gateway.replay(request, client=client).ret_code for _ in range(2)]


@pytest.mark.parametrize("encoding", Encoding)
def test_a_key_that_is_revoked_is_refused_at_once(start: Start, small_site: Site, encoding: Encoding) -> None:
    request = signed(LIST, NORTH_A, encoding, small.RIVAL)

    codes = codes_around(start(small_site), request, "RevokeAccessKey", {"AccessKey": small.RIVAL.public})
    assert codes == [0, 0, 172, 172]


@pytest.mark.parametrize(
    ("pair", "given", "action", "params", "codes"),
    [
        (
            small.VIEWER,
            {"ProjectId": "org-a"},
            "RemoveProjectMember",
            {"Account": "acme", "ProjectId": "org-a", "User": small.VIEWER.public},
            [0, 0, 299, 299],
        ),
        (
            small.VIEWER,
            {"ProjectId": "org-b"},
            "SetProjectMember",
            {"Account": "acme", "ProjectId": "org-b", "User": small.VIEWER.public, "Role": "viewer"},
            [299, 299, 0, 0],
        ),
        (small.ACME, {}, "ModifyAccount", {"Account": "acme", "ZoneLimit.0": "north-b"}, [0, 0, 293, 293]),
        (small.ACME, {}, "ModifyAccount", {"Account": "acme", "NetworkLimit.0": "192.0.2.0/24"}, [0, 0, 294, 294]),
    ],
)
def test_what_an_account_may_is_judged_each_time(
    start: Start, small_site: Site, pair: Pair, given: Params, action: str, params: Params, codes: list[int]
) -> None:
    request = signed(LIST, {**NORTH_A, **given}, pair=pair)

    assert codes_around(start(small_site), request, action, params) == codes


def test_a_limit_that_is_lifted_lets_the_same_bytes_pass(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    request = signed(LIST, {**NORTH_A, "Zone": "north-b"}, pair=small.FENCED)

    assert codes_around(gateway, request, "ModifyAccount", {"Account": "fenced", "ZoneLimit": ["any"]}, small.INSIDE) == [
        293,
        293,
        0,
        0,
    ]
    assert codes_around(gateway, request, "ModifyAccount", {"Account": "fenced", "NetworkLimit": ["any"]}, small.OUTSIDE) == [
        294,
        294,
        0,
        0,
    ]


def test_an_address_is_judged_each_time(small_gateway: Gateway) -> None:
    request = signed(LIST, NORTH_A, pair=small.FENCED)
    clients = [small.INSIDE, small.OUTSIDE, small.INSIDE, small.OUTSIDE]

    assert [small_gateway.replay(request, client=client).ret_code for client in clients] == [0, 294, 0, 294]


def test_a_change_of_the_catalogue_shows_in_the_next_answer(start: Start, small_site: Site) -> None:
    gateway = start(small_site)
    request = signed(LIST, NORTH_A, pair=small.ACME)
    before = [gateway.replay(request).total for _ in range(2)]
    catalog = """
phimage: 1
images:
  - {id: pimg-bn-000001, name: newer, family: f, os_type: Ubuntu, os_name: Ubuntu, size: 20, version: "2",
     created: "2020-01-01T00:00:00Z", zones: [north-a], support: {Both: [10G]}}
"""
    operate(gateway, "ApplyCatalog", {"Catalog": catalog})
    after = [gateway.replay(request) for _ in range(2)]

    assert [reply.total for reply in after] == [count + 1 for count in before]
    assert after[0].ids[0] == after[1].ids[0] == "pimg-bn-000001"


def test_the_same_bytes_in_another_place_are_another_request(small_gateway: Gateway) -> None:
    form = signed(LIST, NORTH_A, pair=small.ACME)
    flat = signed(LIST, NORTH_A, Encoding.FLAT, small.ACME)
    query = signed(LIST, NORTH_A, Encoding.QUERY, small.ACME)
    for request in (form, flat, query):
        assert [small_gateway.replay(request).ret_code for _ in range(2)] == [0, 0]

    assert small_gateway.replay(form._replace(method="GET")).ret_code == 160
    assert small_gateway.replay(form._replace(headers=(("Content-Type", JSON),))).ret_code == 160
    assert small_gateway.replay(flat._replace(headers=(("Content-Type", FORM),))).ret_code == 160
    assert small_gateway.replay(form._replace(body=form.body[:-1])).ret_code == 171
    assert small_gateway.replay(form._replace(body=form.body + b"0")).ret_code == 171
    assert small_gateway.replay(query._replace(method="POST")).ret_code == 0
    assert small_gateway.replay(query._replace(query=query.query.lower())).ret_code == 160


def test_the_same_bytes_on_another_path_get_what_the_path_asks_for(small_gateway: Gateway) -> None:
    request = signed(LIST, NORTH_A, pair=small.ACME)

    def counts(path: str) -> tuple[int, int]:
        reply = small_gateway.replay(request._replace(path=path))
        return reply.ret_code, len(reply.fields.get("ImageSet", ()))

    for _ in range(2):
        found = [counts(path) for path in ("/", "/limit/2/", "/limit/3/", "/rev/1/", "/rev/2/limit/1/", "/rev/x/", "/")]
        assert found == [(0, 9), (0, 2), (0, 3), (230, 0), (0, 1), (230, 0), (0, 9)]


@pytest.mark.parametrize("encoding", Encoding)
def test_a_known_response_is_the_one_that_was_made(start: Start, small_site: Site, encoding: Encoding) -> None:
    gateway = start(small_site, watching=False)
    made, known = (gateway.replay(signed(LIST, NORTH_A, encoding, small.ACME)) for _ in range(2))

    assert (made.is_known, known.is_known) == (False, True)
    assert known.content == made.content
    assert known.headers.pop("x-ucloud-request-uuid") != made.headers.pop("x-ucloud-request-uuid")
    assert list(known.headers.items()) == list(made.headers.items())


@pytest.mark.parametrize(
    ("settings", "given", "path", "pieces"),
    [
        ({}, {"Machinetype": "DB-2"}, "/", 1),  # its response has a hint
        ({}, {}, "/rev/2/", 1),
        ({"log_requests": True}, {}, "/", 1),
        ({}, {}, "/", 2),
    ],
)
def test_what_takes_a_decision_or_a_wait_is_made_each_time(
    start: Start, small_site: Site, settings: dict[str, object], given: Params, path: str, pieces: int
) -> None:
    gateway = start(small_site, **settings)
    request = signed(LIST, {**NORTH_A, **given}, pair=small.ACME)

    replies = [gateway.send("POST", path, headers=request.headers, body=request.body, pieces=pieces) for _ in range(3)]

    assert not any(reply.is_known for reply in replies)
    assert replies[0].content == replies[2].content


def test_a_known_response_counts_against_the_rate_of_its_key(start: Start, small_site: Site) -> None:
    gateway = start(small_site, watching=False, rate=0.001, burst=3)
    request = signed(LIST, NORTH_A, pair=small.ACME)

    replies = [gateway.replay(request) for _ in range(5)]

    assert [reply.ret_code for reply in replies] == [0, 0, 0, 153, 153]
    assert [reply.is_known for reply in replies] == [False, True, True, False, False]


@pytest.mark.parametrize("where", ["path", "content type"])
def test_what_a_client_sends_beside_its_parameters_does_not_stay_in_memory(small_gateway: Gateway, where: str) -> None:
    request, size, count = signed(LIST, {**NORTH_A, "Limit": "0"}, pair=small.ACME), 50_000, 40

    def send(number: int) -> None:
        text = f"{number}" + "x" * size
        longer = {"path": f"/{text}/"} if where == "path" else {"headers": (("Content-Type", f"{FORM}; x={text}"),)}
        assert small_gateway.replay(request._replace(**longer)).ret_code == 0

    send(0)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, count):
            send(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < count * size / 4
    finally:
        tracemalloc.stop()


def test_a_request_without_a_known_response_counts_once(start: Start, small_site: Site) -> None:
    gateway = start(small_site, rate=0.001, burst=3)
    request = signed(LIST, NORTH_A, pair=small.ACME)._replace(path="/rev/2/")

    assert [gateway.replay(request).ret_code for _ in range(4)] == [0, 0, 0, 153]
