"""The requests of a world: counted for its faults, answered by its application, and written into its journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

from phimage.ci.answer import FaultyAnswer, send_status, wait_for_end
from phimage.ci.fault import IMAGES, RET_CODES, UPLOADS, FaultRule
from phimage.ci.journal import UNCHECKED, JournalCall, verdict
from phimage.ci.path import WorldPath
from phimage.ci.world import World
from phimage.errors import Refused, RequestError, ServiceUnavailable
from phimage.event_log import log
from phimage.gateway.access import authenticate, authenticate_head, check_body
from phimage.gateway.dispatch import RawRequest
from phimage.gateway.doctor import redacted
from phimage.gateway.envelope import failure
from phimage.gateway.params import Value, read_params
from phimage.http.asgi import Message, Receive, Send, send_response
from phimage.http_signature import SIGNATURE_FIELDS

MAX_READ_BYTES = 32 << 20
"""Bytes of a request that are read before the application gets them: more than any Action accepts."""
MOUNTS = {"/images/": IMAGES, "/uploads/": UPLOADS}
CONSOLE = "/console/"


async def answer_call(world: World, path: WorldPath, scope: Message, receive: Receive, send: Send) -> None:
    """Answer a request of a world."""
    scope = {**scope, "path": path.rest, "root_path": path.prefix}
    if path.rest.startswith(CONSOLE):
        await _show_console(world, scope, receive, send)
        return
    mount = next((name for prefix, name in MOUNTS.items() if path.rest.startswith(prefix)), "")
    body, params = b"", dict[str, Value]()
    if not mount and scope["method"] == "POST":
        body, receive = await _read(receive)
    if not mount:
        with suppress(RequestError):
            params = read_params(scope["method"], _header(scope, b"content-type"), _query(scope), body)
    named = params.get("Action")
    action = mount or (named[:128] if isinstance(named, str) else "")
    number, began = world.journal.next_number(), world.clock()
    is_signed = not world.faults.may_answer(action, path.faults) or await asyncio.to_thread(_is_signed, world, scope, body)
    rules = world.faults.struck(action, path.prefix, path.faults, is_signed=is_signed)
    answer = FaultyAnswer(scope, send, rules, keeps_body=not mount)
    signature = await _answer(world, scope, receive, answer, rules, body, action)
    revision = answer.field(b"x-phimage-revision")
    world.journal.add(
        JournalCall(
            number=number,
            time=began,
            method=scope["method"],
            path=path.prefix + path.rest,
            action=action,
            params=redacted(params),
            faults=tuple(rule.text for rule in rules),
            signature=signature,
            status=answer.status if answer.was_sent else None,
            ret_code=answer.ret_code if answer.was_sent else None,
            request_id=answer.field(b"x-ucloud-request-uuid"),
            revision=int(revision) if revision else None,
        )
    )


# docs/decisions.md#who-looks-at-a-world-changes-nothing-of-its-test
async def _show_console(world: World, scope: Message, receive: Receive, send: Send) -> None:
    await _settle(world)
    await world.app(scope, receive, send)
    if scope["method"] == "POST":
        world.publisher.has_news = True


async def _answer(
    world: World,
    scope: Message,
    receive: Receive,
    answer: FaultyAnswer,
    rules: tuple[FaultRule, ...],
    body: bytes,
    action: str,
) -> str:
    """Answer as the rules have it, and return what is known of the signature."""
    for rule in rules:
        if rule.what == "delay":
            await asyncio.sleep(rule.value)
    undoing = next((rule for rule in rules if rule.undoes), None)
    if undoing is not None and undoing.what != "ret":
        await _fail(undoing, receive, answer, world)
        return UNCHECKED
    await _settle(world)
    if undoing is not None:
        error = RET_CODES[int(undoing.value)](detail=f"the fault {undoing.text}")
        await send_response(answer.send, 200, failure(action, error), next(world.request_ids))
        return "good"
    await world.app(scope, receive, answer.send)
    await answer.end()
    if world.changes(action):
        world.publisher.has_news = True
    world.look(answer.body)
    return verdict(answer.ret_code, answer.status)


async def _fail(rule: FaultRule, receive: Receive, answer: FaultyAnswer, world: World) -> None:
    if rule.what == "http":
        await send_status(answer.send, int(rule.value), next(world.request_ids))
    elif rule.what == "hang":
        await wait_for_end(receive)
    else:
        answer.reset()


async def _settle(world: World) -> None:
    """End the jobs that are due before the request is answered."""
    if world.publisher.has_news or world.clock.is_running:
        try:
            await world.in_turn(world.settle, asyncio.get_running_loop())
        except (ServiceUnavailable, Refused) as error:  # it was dropped meanwhile, or a host of the seed cannot be registered
            log.warning("world.not_settled", world=world.name, reason=str(error))


# docs/decisions.md#a-fault-comes-after-the-signature
def _is_signed(world: World, scope: Message, body: bytes) -> bool:
    """Whether the signature of a request is good. Reads the database."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    is_signed = "signature-input" in headers or "signature" in headers
    fields: Mapping[str, str] | None = {name: headers.get(name, "") for name in SIGNATURE_FIELDS} if is_signed else None
    raw = RawRequest(
        method=scope["method"],
        path=scope["path"],
        query=_query(scope),
        content_type=headers.get("content-type", ""),
        body=body,
        address="",
        request_id="",
        raw_path=scope["raw_path"].decode("utf-8", "surrogateescape"),
        header=fields,
    )
    view = world.catalog.now(wait=True)
    try:
        head = raw.head()
        if head is None:
            authenticate(read_params(raw.method, raw.content_type, raw.query, body), view)
        else:
            authenticate_head(head, view, time.time())
            check_body(head, body)
    except RequestError:
        return False
    return True


async def _read(receive: Receive) -> tuple[bytes, Receive]:
    """The body, and a `receive` that gives it again. The application reads the rest of one above MAX_READ_BYTES."""
    read: list[Message] = []
    size = 0
    while size <= MAX_READ_BYTES:
        message = await receive()
        read.append(message)
        size += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            break
    body = b"".join(message.get("body", b"") for message in read)

    async def again() -> Message:
        return read.pop(0) if read else await receive()

    return body, again


def _header(scope: Message, name: bytes) -> str:
    return next((value.decode("latin-1") for field, value in scope["headers"] if field == name), "")


def _query(scope: Message) -> str:
    query: bytes = scope["query_string"]
    return query.decode("utf-8", "replace")
