"""The ASGI application of the endpoint: requests of worlds, and those that control it."""

from __future__ import annotations

from collections.abc import Mapping

from phimage.ci.calls import answer_call
from phimage.ci.control import Control
from phimage.ci.path import read_world_path
from phimage.ci.worlds import Worlds
from phimage.errors import PhimageError
from phimage.http.asgi import Exchange, Message, Receive, Send, new_request_id
from phimage.http.body import BodyTooLong, ClientGone, RequestBody
from phimage.http.response import HttpError, JsonResponse, error_response

MAX_CONTROL_BYTES = 16 << 20
"""The longest body of a request that controls the endpoint: a seed of thousands of images."""


class Endpoint:
    """Answers every request of the port."""

    def __init__(self, worlds: Worlds, keys: Mapping[str, Mapping[str, str]]) -> None:
        """`keys` are those that every world starts with, by name."""
        self._worlds = worlds
        self._control = Control(worlds, keys)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, send, new_request_id())
        try:
            if scope["path"] == "/ci" or scope["path"].startswith("/ci/"):
                await exchange.respond(JsonResponse(200, await self._controlled(exchange)))
                return
            path = read_world_path(scope["path"])
            world = self._worlds.get(path.world)
        except ClientGone:
            return
        except PhimageError as error:
            await exchange.respond(error_response(error))
            return
        await answer_call(world, path, scope, receive, send)

    async def _controlled(self, exchange: Exchange) -> Mapping[str, object]:
        try:
            body = await RequestBody(exchange.receive).read(MAX_CONTROL_BYTES)
        except BodyTooLong:
            raise HttpError(413, "Too large", f"at most {MAX_CONTROL_BYTES >> 20} MiB") from None
        return await self._control.answer(exchange.method, exchange.scope["path"], exchange.query, body)
