"""The short form of the fuzzing: every seed, then random requests for a few seconds. The long form: `python -m tests.fuzz`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phimage.catalog.views import View
from phimage.gateway.app import App
from phimage.http.asgi import Application, no_known_response
from tests.api.gateway import Gateway
from tests.api.recording import parse
from tests.api.signer import Request, encoded
from tests.api.signer import signed as signed_request
from tests.fuzz.inputs import ENOUGH, Choices, built, mutated, noise
from tests.fuzz.target import UNSIGNED, Target, seeds, signed, target, written

SEEDS = seeds()
FEW = settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[Target]:
    with target() as found:
        yield found


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_is_answered_as_every_request_must_be(fuzzed: Target, name: str) -> None:
    fuzzed.check(SEEDS[name])


@FEW
@given(choices=st.binary(min_size=ENOUGH, max_size=ENOUGH))
@pytest.mark.parametrize("kind", [built, mutated, noise])
def test_a_random_request_is_answered(fuzzed: Target, kind: Callable[[Choices], Request], choices: bytes) -> None:
    fuzzed.send(kind(Choices(choices)))


# the fuzzing can fail, and gets beyond the signature


def test_forty_zeros_become_the_right_signature(fuzzed: Target) -> None:
    fuzzed.start_anew()  # random requests may have taken the keys away
    before = fuzzed.ret_codes[0]
    for request in (
        signed_request("GetUserInfo"),
        encoded({"Action": "GetUserInfo", "PublicKey": "key-operator", "Signature": UNSIGNED.decode()}),
    ):
        fuzzed.send(request)

    assert fuzzed.ret_codes[0] == before + 2


def test_a_request_that_asks_to_wait_is_left_out() -> None:
    assert signed(signed_request("ListPHostImageChanges", {"Wait": "25"})) is None
    assert signed(signed_request("ListPHostImageChanges", {"Wait": "0"})) is not None


def test_a_seed_can_be_written_and_read_again() -> None:
    for name, seed in SEEDS.items():
        request = parse(seed)

        assert parse(written(request)) == request, name


def answer(status: int = 200, body: bytes = b'{"RetCode":0,"Action":"AResponse"}', **headers: str) -> list[dict[str, Any]]:
    """What an application sends."""
    whole = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-ucloud-request-uuid": "00000000-0000-4000-8000-000000000000",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    pairs = [(name.encode(), value.encode()) for name, value in whole.items()]
    return [{"type": "http.response.start", "status": status, "headers": pairs}, {"type": "http.response.body", "body": body}]


BAD = {
    "no answer": [],
    "half an answer": answer()[:1],
    "two answers": [*answer(), *answer()],
    "an empty body": answer(body=b""),
    "text": answer(body=b"Internal Server Error"),
    "a list": answer(body=b"[]"),
    "a BOM": answer(body=b'\xef\xbb\xbf{"RetCode":0}'),
    "bytes that are not UTF-8": answer(body=b'{"RetCode":0,"Action":"\xff"}'),
    "no RetCode": answer(body=b'{"Message":"x"}'),
    "a RetCode in quotes": answer(body=b'{"RetCode":"0","Action":"AResponse"}'),
    "a RetCode of 2000": answer(body=b'{"RetCode":2000,"Message":"x"}'),
    "a negative RetCode": answer(body=b'{"RetCode":-1,"Message":"x"}'),
    "an error without words": answer(body=b'{"RetCode":230}'),
    "an error inside": answer(body=b'{"RetCode":150,"Message":"x","Detail":"an error inside phimage; see its log"}'),
    "HTTP 500": answer(500, b'{"RetCode":150,"Message":"x"}'),
    "HTTP 404": answer(404, b'{"RetCode":161,"Message":"x"}'),
    "a redirect": answer(302, location="/"),
    "a wrong length": answer(content_length="1"),
    "a wrong type": answer(content_type="text/html"),
    "no request id": answer(x_ucloud_request_uuid="x"),
}


class Unknown:
    """An application that has no response ready."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    known_response = staticmethod(no_known_response)


def gateway_of(app: Application, runner: asyncio.Runner) -> Gateway:
    return Gateway(cast("App[View]", Unknown(app)), runner)


def gateway_that_sends(messages: list[dict[str, Any]], runner: asyncio.Runner) -> Gateway:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return gateway_of(app, runner)


def test_a_good_answer_passes_the_checks() -> None:
    with asyncio.Runner() as runner:
        assert gateway_that_sends(answer(), runner).send().ret_code == 0


@pytest.mark.parametrize("messages", BAD.values(), ids=BAD)
def test_a_bad_answer_is_caught(messages: list[dict[str, Any]]) -> None:
    with asyncio.Runner() as runner, pytest.raises((AssertionError, ValueError, KeyError)):
        gateway_that_sends(messages, runner).send()


def test_a_crash_and_a_hang_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.api.gateway.ANSWER_SECONDS", 0.05)

    async def crash(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a defect")

    async def hang(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with asyncio.Runner() as runner:
        with pytest.raises(RuntimeError, match="a defect"):
            gateway_of(crash, runner).send()
        with pytest.raises(TimeoutError):
            gateway_of(hang, runner).send()
